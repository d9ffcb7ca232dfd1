#!/usr/bin/env node
// Builds the browser package into wasm/pkg: the runtime as WebAssembly, with plain and with relaxed
// SIMD, its JavaScript, its types.
// `node wasm/build.mjs` does all of its set-up itself; it is quick if nothing has changed.

import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { basename, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants } from "node:zlib";
import { npmInstall } from "./build/npm.mjs";
import { Failure, run } from "./build/run.mjs";
import { TARGET, wasmToolchain } from "./build/toolchain.mjs";

const wasmDir = fileURLToPath(new URL(".", import.meta.url));
const root = join(wasmDir, "..");
const pkg = join(wasmDir, "pkg");
const targetDir = join(root, "target", "wasm");

/**
 * The builds: two CPU engines, of which compile.ts chooses one, and the GPU engine, which webgpu.ts loads. The
 * builds share their dependencies, so relaxed SIMD is enabled for our own crate alone: its kernels. Builds of
 * one name share the JavaScript that wasm-bindgen generates.
 */
const BUILDS = [
  { name: "edge_runtime", wasm: "edge_runtime_bg.wasm" },
  { name: "edge_runtime", rustc: ["-Ctarget-feature=+relaxed-simd"], wasm: "edge_runtime_relaxed.wasm" },
  { name: "edge_runtime_gpu", cargo: ["--features", "wgpu"], wasm: "edge_runtime_gpu.wasm" },
];

/** Folder of the JavaScript that wasm-bindgen generates. */
const glueDir = join(targetDir, "glue");
const glues = [...new Set(BUILDS.map(({ name }) => join(glueDir, `${name}.js`)))];
const LICENCES = ["LICENSE-APACHE", "LICENSE-MIT"];

const RUSTFLAGS = [
  "-Ctarget-feature=+simd128",
  // getrandom, which the tokenizer links, needs its source of randomness for the web.
  '--cfg=getrandom_backend="wasm_js"',
  // Panic messages name source files, with paths relative to the project.
  `--remap-path-prefix=${process.env.CARGO_HOME ?? join(homedir(), ".cargo")}=cargo`,
  `--remap-path-prefix=${root}=.`,
];

async function main() {
  const toolchain = wasmToolchain();
  const stampFile = join(targetDir, "stamp.json");
  const inputs = hashOf([...sources(), toolchain.version]);
  const fresh = readStamp(stampFile);
  const isThere = ({ wasm }) => existsSync(join(pkg, wasm));
  if (fresh?.inputs !== inputs || !glues.every(existsSync) || !BUILDS.every(isThere)) {
    const compiled = BUILDS.map((build) => compileRuntime(toolchain, build));
    const bindgen = compileBindgen();
    rmSync(pkg, { recursive: true, force: true });
    rmSync(glueDir, { recursive: true, force: true });
    rmSync(stampFile, { force: true });
    mkdirSync(pkg, { recursive: true });
    for (const [i, build] of BUILDS.entries()) bind(bindgen, compiled[i], build);
    for (const name of LICENCES) copyFileSync(join(root, name), join(pkg, name));
  }
  await compileTypeScript();
  report(stampFile, inputs, fresh);
}

/** Inputs of the builds, besides the toolchain: each file's name, then its contents. */
function sources() {
  const within = (folder) =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
  const named = ["Cargo.toml", "Cargo.lock", "wasm/Cargo.toml", "wasm/build.mjs", ...LICENCES];
  const files = [...named.map((name) => join(root, name)), ...["wasm/src", "wasm/bindgen"].flatMap(within)];
  return files.sort().flatMap((file) => [relative(root, file), readFileSync(file)]);
}

/** Generates the JavaScript of a build, and copies its finished module into the package. */
function bind(bindgen, compiled, { name, wasm }) {
  const out = join(targetDir, "bindgen");
  const glue = join(glueDir, `${name}.js`);
  const module = join(out, "edge_runtime.wasm");
  mkdirSync(out, { recursive: true });
  copyFileSync(compiled, module);
  run(bindgen, [module, out]);
  const made = readFileSync(join(out, "edge_runtime.js"));
  if (existsSync(glue) && !readFileSync(glue).equals(made)) {
    throw new Failure("builds of one name have different JavaScript; expected a difference in their instructions only");
  }
  mkdirSync(glueDir, { recursive: true });
  writeFileSync(glue, made);
  copyFileSync(join(out, "edge_runtime.d.ts"), join(glueDir, `${name}.d.ts`));
  copyFileSync(join(out, "edge_runtime_bg.wasm"), join(pkg, wasm));
}

/** Compiles a build. Returns the path of its module. */
function compileRuntime(toolchain, { cargo = [], rustc = [], wasm }) {
  const made = join(targetDir, TARGET, "web");
  // Cargo has one name for the modules of all builds here, and would take another build's module.
  rmSync(join(made, "deps", "edge_runtime.wasm"), { force: true });
  const args = ["rustc", "--locked", "--package", "edge-runtime", "--lib", "--no-default-features"];
  args.push("--profile", "web", "--target", TARGET, "--target-dir", targetDir, ...cargo, ...toolchain.args);
  run(toolchain.cargo, [...args, "--", ...rustc], {
    cwd: root,
    env: { ...toolchain.env, CARGO_ENCODED_RUSTFLAGS: RUSTFLAGS.join("\x1f") },
  });
  const kept = join(targetDir, "compiled");
  mkdirSync(kept, { recursive: true });
  copyFileSync(join(made, "edge_runtime.wasm"), join(kept, wasm));
  return join(kept, wasm);
}

function compileBindgen() {
  const args = ["build", "--locked", "--release", "--package", "edge-bindgen"];
  run("cargo", [...args, "--target-dir", targetDir], { cwd: root });
  return join(targetDir, "release", process.platform === "win32" ? "edge-bindgen.exe" : "edge-bindgen");
}

/** Entry files of pages and workers. Each is bundled into one file: a further file costs a round trip. */
const ENTRIES = ["index.js", "worker.js", "gpu.js"];
/** Public types of the package. */
const DECLARATIONS = ["index.d.ts", "errors.d.ts", "types.d.ts"];

async function compileTypeScript() {
  npmInstall(wasmDir);
  const tsc = join(wasmDir, "node_modules", "typescript", "bin", "tsc");
  const out = join(targetDir, "js");
  rmSync(out, { recursive: true, force: true });
  for (const name of readdirSync(pkg)) if (/\.(js|ts)$/.test(name)) rmSync(join(pkg, name));
  run(process.execPath, [tsc, "--project", join(wasmDir, "js", "tsconfig.json")]);
  run(process.execPath, [tsc, "--project", join(wasmDir, "js", "tsconfig.test.json")]);
  for (const glue of glues) copyFileSync(glue, join(out, basename(glue)));
  const { build } = await import("esbuild");
  for (const name of ENTRIES) {
    await build({
      entryPoints: [join(out, name)],
      outdir: pkg,
      bundle: true,
      format: "esm",
      target: "es2022",
      minify: true,
      // The class of an error keeps its name, EdgeError, in logs.
      keepNames: true,
      legalComments: "none",
      logLevel: "warning",
    });
  }
  for (const name of ["index.js", "worker.js"]) keepImport(join(pkg, name));
  for (const name of DECLARATIONS) copyFileSync(join(out, name), join(pkg, name));
}

/** Restores the comments that tell bundlers to ignore the import of a computed address; minifying drops them. */
function keepImport(file) {
  const parts = readFileSync(file, "utf8").split(/\bimport\((?=\w+\.href\))/);
  if (parts.length !== 2) throw new Failure(`${file}: found ${parts.length - 1} imports of a computed address; expected 1`);
  writeFileSync(file, parts.join("import(/*webpackIgnore:true*//*@vite-ignore*/"));
}

/** Prints the size of each file that a page loads. Best brotli takes seconds, so the sizes are stored. */
function report(stampFile, inputs, fresh) {
  const sizes = fresh?.inputs === inputs ? fresh.sizes : {};
  const rows = readdirSync(pkg, { recursive: true }).filter((name) => /\.(js|wasm)$/.test(name)).sort();
  for (const name of rows) {
    const bytes = readFileSync(join(pkg, name));
    const hash = createHash("sha256").update(bytes).digest("hex");
    if (sizes[name]?.hash !== hash) {
      const params = {
        [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
        [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
      };
      sizes[name] = { hash, raw: bytes.length, brotli: brotliCompressSync(bytes, { params }).length };
    }
    const { raw, brotli } = sizes[name];
    console.log(`wasm/pkg/${name.padEnd(30)} ${count(raw)} bytes, ${count(brotli)} with brotli`);
  }
  writeFileSync(stampFile, JSON.stringify({ inputs, sizes }));
}

function count(n) {
  return n.toLocaleString("en-US").padStart(9);
}

function readStamp(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return undefined; // Missing or cut short: all is built again.
  }
}

function hashOf(parts) {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${part.length} `).update(part);
  return hash.digest("hex");
}

try {
  await main();
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  console.error(`build.mjs: ${error.message}`);
  process.exitCode = 1;
}
