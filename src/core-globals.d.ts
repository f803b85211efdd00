// The few web-platform globals that the core uses, present alike in browsers, Deno and Node.
// The core is checked without the DOM library and without Node's types, so anything not listed here is a type error.

interface AbortSignal {
  readonly aborted: boolean;
  readonly reason: unknown;
  addEventListener(type: "abort", listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

declare class AbortController {
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
}

declare class Blob {
  constructor(parts?: readonly (ArrayBufferView<ArrayBuffer> | ArrayBuffer | string)[], options?: { type?: string });
  readonly size: number;
  slice(start?: number, end?: number): Blob;
  stream(): ByteStream;
  arrayBuffer(): Promise<ArrayBuffer>;
  text(): Promise<string>;
}

declare class TextDecoder {
  constructor(label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean });
  decode(input?: ArrayBufferView | ArrayBuffer, options?: { stream?: boolean }): string;
}

declare class TextEncoder {
  encode(input?: string): Uint8Array<ArrayBuffer>;
}

interface Headers {
  get(name: string): string | null;
}

interface Response {
  readonly ok: boolean;
  readonly status: number;
  readonly headers: Headers;
  arrayBuffer(): Promise<ArrayBuffer>;
  text(): Promise<string>;
}

declare function fetch(
  url: string,
  init?: { method?: string; headers?: Record<string, string>; signal?: AbortSignal | null; cache?: "no-store" },
): Promise<Response>;

declare const performance: { now(): number };

interface ByteStreamReader {
  read(): Promise<{ done: false; value: Uint8Array<ArrayBuffer> } | { done: true; value?: undefined }>;
  cancel(): Promise<void>;
}

declare class DecompressionStream {
  constructor(format: "deflate");
}

interface ByteStream {
  getReader(): ByteStreamReader;
  pipeThrough(transform: DecompressionStream): ByteStream;
  cancel(): Promise<void>;
}

interface Response {
  readonly body: ByteStream | null;
}

declare class URL {
  constructor(url: string, base?: string);
  readonly host: string;
  readonly origin: string;
  readonly protocol: string;
  readonly username: string;
  readonly password: string;
  readonly href: string;
  pathname: string;
  search: string;
  hash: string;
}

declare function setTimeout(callback: () => void, milliseconds: number): unknown;
declare function clearTimeout(timer: unknown): void;
declare function btoa(data: string): string;
declare function atob(data: string): string;
