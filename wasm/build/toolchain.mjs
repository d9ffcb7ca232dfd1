// Finds a Rust toolchain that can compile to WebAssembly, or sets one up.

import { existsSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { aptInstall } from "./apt.mjs";
import { Failure, ask } from "./run.mjs";

export const TARGET = "wasm32-unknown-unknown";

const DEBIAN_PACKAGES = ["rustc-web", "cargo-web", "rust-web-src"];
const DEBIAN_RUSTC = "/usr/bin/rustc";
const DEBIAN_CARGO = "/usr/bin/cargo";

/** Command for cargo: `{ cargo, args, env, version }`. Installed toolchains are tried before downloads. */
export function wasmToolchain() {
  const found = active() ?? debian() ?? fromRustup() ?? fromDebian() ?? giveUp();
  return { ...found, version: ask(found.env.RUSTC ?? "rustc", ["-vV"]) ?? "" };
}

/** The active Rust, if it has the standard library for the target. */
function active() {
  const sysroot = ask("rustc", ["--print", "sysroot"]);
  const std = sysroot && join(sysroot, "lib", "rustlib", TARGET, "lib");
  return std && existsSync(std) ? { cargo: "cargo", args: [], env: {} } : undefined;
}

/** Debian's Rust, which compiles the standard library from its source. */
function debian() {
  if (!existsSync(DEBIAN_CARGO)) return undefined;
  const sysroot = ask(DEBIAN_RUSTC, ["--print", "sysroot"]);
  const source = sysroot && join(sysroot, "lib", "rustlib", "src", "rust", "library", "Cargo.toml");
  const linker = findLinker();
  if (!source || !existsSync(source) || !linker) return undefined;
  return {
    cargo: DEBIAN_CARGO,
    args: ["-Zbuild-std=std,panic_abort"],
    env: {
      RUSTC: DEBIAN_RUSTC,
      RUSTC_BOOTSTRAP: "1", // -Zbuild-std is not stable yet.
      CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER: linker,
    },
  };
}

/** Finds a linker for WebAssembly: Rust's or LLVM's. */
function findLinker() {
  const sysroot = ask("rustc", ["--print", "sysroot"]);
  const host = ask("rustc", ["--print", "host-tuple"]);
  const own = sysroot && host && join(sysroot, "lib", "rustlib", host, "bin", "rust-lld");
  if (own && existsSync(own)) return own;
  const names = (process.env.PATH ?? "").split(delimiter).flatMap((dir) => {
    const versioned = existsSync(dir) ? readdirSync(dir).filter((n) => /^wasm-ld-\d+$/.test(n)) : [];
    return ["wasm-ld", ...versioned].map((name) => join(dir, name));
  });
  return names.find((path) => existsSync(path));
}

function fromRustup() {
  console.log(`Rust has no standard library for ${TARGET} yet; asking rustup for it`);
  const added = ask("rustup", ["target", "add", TARGET], {
    timeout: 120_000,
    env: { RUSTUP_MAX_RETRIES: "0" },
  });
  return added === undefined ? undefined : active();
}

function fromDebian() {
  const packages = findLinker() ? DEBIAN_PACKAGES : [...DEBIAN_PACKAGES, "lld"];
  return aptInstall(packages) ? debian() : undefined;
}

function giveUp() {
  throw new Failure(
    `no Rust here can compile to ${TARGET}. Run \`rustup target add ${TARGET}\`, or on Debian ` +
      `\`apt-get install ${DEBIAN_PACKAGES.join(" ")} lld\` as root, and try again`,
  );
}
