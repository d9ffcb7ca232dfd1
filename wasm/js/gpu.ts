// The GPU engine: a separate file, which is fetched only on a machine with a GPU.

export { default as init, WasmGpu } from "./edge_runtime_gpu.js";
