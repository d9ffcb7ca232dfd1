// Running of programs, with messages for people.

import { spawnSync } from "node:child_process";

/** Error that stops the build. Its message contains the remedy. */
export class Failure extends Error {}

/** Runs a program, which prints to this program's output. Throws an error if the program fails. */
export function run(program, args, { cwd, env } = {}) {
  const options = { cwd, env: { ...process.env, ...env }, stdio: "inherit" };
  const result = spawnSync(program, args, options);
  if (result.error) throw new Failure(`cannot run ${program}: ${result.error.message}`);
  if (result.status !== 0) {
    throw new Failure(`${program} ${args[0]} failed (${result.signal ?? `status ${result.status}`})`);
  }
}

/** Runs a program quietly. Returns its output, or undefined if it cannot run or fails. */
export function ask(program, args, { timeout, env } = {}) {
  const options = { encoding: "utf8", env: { ...process.env, ...env }, timeout };
  const result = spawnSync(program, args, { ...options, stdio: ["ignore", "pipe", "ignore"] });
  return result.status === 0 ? result.stdout.trim() : undefined;
}
