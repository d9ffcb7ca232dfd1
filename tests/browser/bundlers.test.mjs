// The package as others install it: from its tarball, with Vite, with webpack, in Node, from a page.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { after, before, test } from "node:test";
import { npmInstall } from "../../wasm/build/npm.mjs";
import { edgeRun } from "./lib/native.mjs";
import { launch } from "./lib/page.mjs";
import { HERE, MODEL, ROOT } from "./lib/paths.mjs";

const CSP = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src data:";
const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

/** What the example of the package's README prints of the shipped model. */
const [{ label, probabilities, stage }] = edgeRun(["what a wonderful film"]);
const PRINTED = new RegExp(`^${label} ${String(probabilities[label]).slice(0, 5)}\\d* after stage ${stage}$`);

/** The example of the package's README. */
const EXAMPLE = /```js\n([^]*?)```/.exec(readFileSync(join(ROOT, "wasm", "README.md"), "utf8"))[1];

let folder, tarball, browser;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "edge-package-"));
  // What was built is what is packed.
  const args = ["pack", "--ignore-scripts", "--json", "--pack-destination", folder];
  const [{ filename }] = JSON.parse(execFileSync("npm", args, { cwd: join(ROOT, "wasm"), encoding: "utf8" }));
  tarball = join(folder, filename);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  if (folder) rmSync(folder, { recursive: true });
});

/** A project with the package installed beside what its lock file lists, and the example as main.js. */
function project(name) {
  const source = join(HERE, "projects", name);
  npmInstall(source);
  const at = join(folder, name);
  cpSync(source, at, { recursive: true });
  const install = ["install", "--no-save", "--no-audit", "--no-fund", "--prefer-offline", tarball];
  execFileSync("npm", install, { cwd: at, stdio: "pipe" });
  writeFileSync(join(at, "main.js"), EXAMPLE);
  return at;
}

function build(at) {
  return execFileSync("npm", ["run", "build"], { cwd: at, encoding: "utf8", stdio: "pipe" });
}

/** Serves a folder and the shipped model with a strict policy, and gives its address. */
async function serve(root, headers = { "Content-Security-Policy": CSP }) {
  const server = createServer((request, response) => {
    const path = new URL(request.url, "http://localhost").pathname;
    const file = path === "/model.edge" ? MODEL : join(root, path === "/" ? "index.html" : path);
    if (!existsSync(file)) return response.writeHead(404).end();
    const type = TYPES[extname(file)] ?? "application/octet-stream";
    response.writeHead(200, { ...headers, "Content-Type": type }).end(readFileSync(file));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

/** The first line that a page prints; what it complained of makes it fail. */
async function printed(url) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const fetched = [];
  page.on("requestfinished", (request) => fetched.push(new URL(request.url()).pathname));
  const line = new Promise((done, failed) => {
    page.on("console", (message) => {
      if (message.type() === "log") done(message.text());
      else if (message.type() !== "debug") failed(new Error(message.text()));
    });
    page.on("pageerror", failed);
    setTimeout(() => failed(new Error("the page prints nothing")), 60_000).unref();
  });
  await page.goto(url);
  const text = await line;
  await context.close();
  return { text, fetched };
}

/** The example's page fetches one build and computes in a worker. */
function check({ text, fetched }) {
  assert.match(text, PRINTED);
  assert.equal(fetched.filter((path) => path.endsWith(".wasm")).length, 1, fetched.join(", "));
  // webpack calls the file as the worker is called.
  assert.ok(fetched.some((path) => /(worker.*|edge-distil)\.js$/.test(path)), fetched.join(", "));
}

test("the tarball holds what is needed and nothing else", () => {
  const files = execFileSync("tar", ["tzf", tarball], { encoding: "utf8" }).trim().split("\n");
  const names = files.map((file) => file.replace(/^package\//, ""));
  for (const needed of ["package.json", "README.md", "pkg/index.js", "pkg/index.d.ts", "pkg/worker.js", "pkg/LICENSE-MIT"]) {
    assert.ok(names.includes(needed), `${needed} is missing`);
  }
  assert.deepEqual(names.filter((name) => !/^(package\.json|README\.md|pkg\/[\w-]+(\.d\.ts|\.js|\.wasm|\.wasm\.d\.ts)?)$/.test(name)), []);
});

test("Vite builds a page of it, under a strict policy", async () => {
  const at = project("vite");
  build(at);
  const server = await serve(join(at, "dist"));
  check(await printed(server.url));
  server.close();
});

test("Vite's development server serves it", async () => {
  const at = join(folder, "vite");
  const config = 'export default { optimizeDeps: { exclude: ["edge-distil"] } };\n';
  writeFileSync(join(at, "vite.config.js"), config);
  mkdirSync(join(at, "public"), { recursive: true });
  copyFileSync(MODEL, join(at, "public", "model.edge"));
  const { createServer } = await import(join(at, "node_modules", "vite", "dist", "node", "index.js"));
  const server = await createServer({ root: at, logLevel: "silent", server: { port: 0, host: "127.0.0.1" } });
  await server.listen();
  const { text } = await printed(server.resolvedUrls.local[0] ?? server.resolvedUrls.network[0]);
  assert.match(text, PRINTED);
  await server.close();
});

test("webpack builds a page of it, under a strict policy", async () => {
  const at = project("webpack");
  build(at);
  const html = '<!doctype html><title>webpack</title><link rel="icon" href="data:,"><script src="main.js"></script>';
  writeFileSync(join(at, "dist", "index.html"), html);
  const server = await serve(join(at, "dist"));
  check(await printed(server.url));
  server.close();
});

test("a page without a bundler, and from another origin's server", async () => {
  const installed = join(folder, "vite", "node_modules", "edge-distil", "pkg");
  const page = join(folder, "plain");
  cpSync(installed, join(page, "pkg"), { recursive: true });
  const write = (from) => {
    const html = '<!doctype html><title>plain</title><link rel="icon" href="data:,">';
    writeFileSync(join(page, "index.html"), `${html}<script type="module" src="main.js"></script>`);
    writeFileSync(join(page, "main.js"), EXAMPLE.replace('"edge-distil"', JSON.stringify(from)));
  };
  write("./pkg/index.js");
  const own = await serve(page);
  check(await printed(own.url));
  const other = await serve(page, { "Access-Control-Allow-Origin": "*" });
  const free = await serve(page, {});
  write(`${other.url}pkg/index.js`);
  check(await printed(free.url));
  for (const server of [own, other, free]) server.close();
});

test("Node imports it without a page, and classifies from a path", () => {
  const at = join(folder, "vite");
  const script = `
    import { Classifier } from "edge-distil";
    if (globalThis.window) throw new Error("a window");
    const classifier = await Classifier.load(${JSON.stringify(MODEL)});
    await classifier.complete();
    const answer = await classifier.classify("what a wonderful film");
    console.log(JSON.stringify({ answer, engine: classifier.engine }));
    const missing = await Classifier.load("missing.edge").catch((e) => e);
    console.log(missing.code, missing.message);
    classifier.dispose();`;
  writeFileSync(join(at, "node.mjs"), script);
  const [first, second] = execFileSync(process.execPath, ["node.mjs"], { cwd: at, encoding: "utf8" }).split("\n");
  const { answer, engine } = JSON.parse(first);
  assert.equal(answer.label, label);
  assert.equal(answer.stage, stage);
  assert.equal(engine.name, "cpu");
  assert.match(second, /^network cannot read missing\.edge: ENOENT/);
});

test("what is not used is left out of a bundle", () => {
  const at = join(folder, "vite");
  rmSync(join(at, "dist"), { recursive: true, force: true });
  writeFileSync(join(at, "main.js"), 'import { Classifier } from "edge-distil";\nconsole.log("nothing");\n');
  build(at);
  // gpu.js lies there as the .wasm files do, whether or not something would load it.
  const scripts = readdirSync(join(at, "dist", "assets")).filter((name) => /^(?!gpu-).*\.js$/.test(name));
  const size = scripts.reduce((sum, name) => sum + readFileSync(join(at, "dist", "assets", name)).length, 0);
  assert.ok(size < 2000, `${size} bytes of JavaScript for an import that is not used`);
});
