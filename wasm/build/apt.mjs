// Installation of Debian packages.

import { ask, run } from "./run.mjs";

/** Installs packages if apt-get and the rights to use it exist. Returns true if they do. */
export function aptInstall(packages) {
  const apt = aptGet();
  if (!apt) return false;
  console.log(`Installing Debian's ${packages.join(", ")}`);
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  const [program, ...prefix] = apt;
  run(program, [...prefix, "update", "-qq"], { env });
  const options = ["--yes", "-qq", "--no-install-recommends"];
  run(program, [...prefix, "install", ...options, ...packages], { env });
  return true;
}

/** Command that calls apt-get as root; undefined if none exists. */
function aptGet() {
  if (process.platform !== "linux" || ask("apt-get", ["--version"]) === undefined) return undefined;
  if (process.getuid() === 0) return ["apt-get"];
  return ask("sudo", ["-n", "true"]) === undefined ? undefined : ["sudo", "-n", "apt-get"];
}
