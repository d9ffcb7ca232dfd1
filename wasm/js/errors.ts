// What can go wrong, as an error with a code, the same on both sides of a worker.

/** What kind of error it is, for a program; the message is for people. */
export type ErrorCode =
  /** The model cannot be fetched, and no copy of it is stored. */
  | "network"
  /** The stream that the model arrives on failed. */
  | "stream"
  /** The bundle is damaged, hostile or of another version. */
  | "bundle"
  /** A graph in it cannot be run. */
  | "graph"
  /** Its tokenizer cannot be used. */
  | "tokenizer"
  /** An exit policy does not fit the model. */
  | "policy"
  /** The engine failed, or is not there. */
  | "engine"
  /** The model gave a number that is none: its weights are damaged. */
  | "not-finite"
  /** This browser lacks something without which nothing runs. */
  | "unsupported"
  /** The worker cannot be started, or ended by itself. */
  | "worker"
  /** The classifier was disposed of. */
  | "disposed";

/** An error of the runtime. What a caller got wrong is a `TypeError`, what it stopped its signal's reason. */
export class EdgeError extends Error {
  override readonly name = "EdgeError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** What the WebAssembly module throws, as errors of ours; anything else stays as it is. */
export function ours(error: unknown): unknown {
  if (error instanceof EdgeError || !(error instanceof Error) || !("code" in error)) return error;
  return error.name === "EdgeError" ? new EdgeError(error.code as ErrorCode, error.message) : error;
}

/** An error on its way between threads, where a class does not survive. */
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
