// Errors with a code, the same on both sides of a worker.

/** Kind of an error, for programs; the message is for people. */
export type ErrorCode =
  /** The model cannot be fetched, and no copy of it is stored. */
  | "network"
  /** The stream that the model arrives on failed. */
  | "stream"
  /** The bundle is damaged, hostile or of another version. */
  | "bundle"
  /** A graph of the bundle cannot be run. */
  | "graph"
  /** The tokenizer of the bundle cannot be used. */
  | "tokenizer"
  /** An exit policy does not fit the model. */
  | "policy"
  /** The engine failed, or is not available. */
  | "engine"
  /** The model gave NaN or an infinite number: its weights are damaged. */
  | "not-finite"
  /** This browser lacks a feature that the runtime needs. */
  | "unsupported"
  /** The worker cannot be started, or has failed. */
  | "worker"
  /** The classifier was disposed of. */
  | "disposed";

/** Error of the runtime. A wrong argument is a `TypeError`; a stopped call rejects with the signal's reason. */
export class EdgeError extends Error {
  override readonly name = "EdgeError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Converts an error of the WebAssembly module to an `EdgeError`; other errors are returned unchanged. */
export function ours(error: unknown): unknown {
  if (error instanceof EdgeError || !(error instanceof Error) || !("code" in error)) return error;
  return error.name === "EdgeError" ? new EdgeError(error.code as ErrorCode, error.message) : error;
}

/** An error in a message between threads, which cannot contain classes. */
export interface WireError {
  readonly name: string;
  readonly message: string;
  readonly code?: ErrorCode;
}

export function toWire(error: unknown): WireError {
  if (!(error instanceof Error)) return { name: "Error", message: String(error) };
  const { name, message } = error;
  return error instanceof EdgeError ? { name, message, code: error.code } : { name, message };
}

export function fromWire({ name, message, code }: WireError): Error {
  if (code) return new EdgeError(code, message);
  if (name === "TypeError") return new TypeError(message);
  return name === "Error" ? new Error(message) : new DOMException(message, name);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
