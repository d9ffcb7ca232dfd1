// The GPU engine: a file by itself, which is fetched where there is a GPU.

export { default as init, WasmGpu } from "./edge_runtime_gpu.js";
