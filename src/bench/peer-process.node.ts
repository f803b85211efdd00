// A peer in a child process: one JSON object per line, requests on its stdin, answers on its stdout.
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import type { PeerAnswer, PeerClient, PeerIdentity } from "./peer.ts";

/** Time limit for one answer, ms. */
const DEFAULT_TIMEOUT_MS = 10 * 60_000;
/** Length of the end of a child's stderr that is kept to explain a crash. */
const STDERR_TAIL = 400;

/** How a peer is started. */
export interface PeerProcessOptions {
  /** Environment variables to add, such as the Vulkan driver's. */
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  /** Arguments of the program. */
  readonly args?: readonly string[];
}

/** A peer that could not be started. */
export interface MissingPeer {
  readonly file: string;
  readonly reason: string;
}

/**
 * Starts the peers of a folder: those that its peers.json lists, as [{"file": …, "args": […], "isSlow": …}], or else every `*.mjs`;
 * slow peers are skipped with `isQuick`.
 * @throws SyntaxError when peers.json is not JSON.
 */
export async function startPeers(
  folder: string,
  options: PeerProcessOptions & { readonly isQuick?: boolean },
): Promise<{ readonly peers: readonly PeerClient[]; readonly missing: readonly MissingPeer[] }> {
  const peers: PeerClient[] = [];
  const missing: MissingPeer[] = [];
  for (const { file, args, isSlow } of listPeers(folder)) {
    if (isSlow === true && options.isQuick === true) continue;
    const peer = await startPeer(join(folder, file), { ...options, args });
    if ("reason" in peer) missing.push(peer);
    else peers.push(peer);
  }
  return { peers, missing };
}

interface ListedPeer {
  readonly file: string;
  readonly args: readonly string[];
  /** Takes minutes to start, or is a variant of another one. */
  readonly isSlow?: boolean;
}

function listPeers(folder: string): readonly ListedPeer[] {
  const list = join(folder, "peers.json");
  if (existsSync(list)) return JSON.parse(readFileSync(list, "utf8")) as ListedPeer[]; // the project's own file
  return readdirSync(folder)
    .filter((name) => name.endsWith(".mjs"))
    .sort()
    .map((file) => ({ file, args: [] }));
}

/** Starts one peer program and asks for its identity. */
export async function startPeer(file: string, options: PeerProcessOptions = {}): Promise<PeerClient | MissingPeer> {
  const child = new PeerProcess(file, options);
  const hello = await child.ask<PeerIdentity>({ op: "hello" });
  if (!hello.ok) {
    await child.close();
    return { file, reason: hello.reason };
  }
  const { name, version, adapter, caveats = [] } = hello;
  return {
    identity: { name, version, adapter, ...(caveats.length > 0 && { caveats }) },
    load: (model) => child.ask({ op: "load", ...model }),
    prefill: (ids) => child.ask({ op: "prefill", ids, reset: true }),
    decode: (run) => child.ask({ op: "decode", ...run }),
    vision: () => child.ask({ op: "vision", repeat: 1 }),
    unload: () => child.ask({ op: "unload" }),
    close: () => child.close(),
  };
}

interface Waiting {
  readonly id: number;
  readonly resolve: (answer: PeerAnswer<object>) => void;
}

class PeerProcess {
  private readonly name: string;
  private readonly child: ChildProcessWithoutNullStreams;
  private readonly timeoutMs: number;
  private readonly ended: Promise<void>;
  private waiting: Waiting | undefined;
  private endReason: string | undefined;
  private stderr = "";
  private lastId = 0;

  constructor(file: string, options: PeerProcessOptions) {
    this.name = basename(file, ".mjs");
    this.timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.child = spawn(process.execPath, [file, ...(options.args ?? [])], { env: { ...process.env, ...options.env } });
    createInterface({ input: this.child.stdout }).on("line", (line) => this.read(line));
    this.child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.stderr = (this.stderr + text).slice(-STDERR_TAIL);
    });
    this.child.stdin.on("error", () => undefined); // a crash is reported by "close"
    this.ended = new Promise((resolve) => {
      this.child.on("error", (error) => this.end(`${this.name} could not be started: ${error.message}.`, resolve));
      this.child.on("close", (code, signal) => {
        const last = this.stderr.trim().split("\n").at(-1) ?? "";
        const how = signal === null ? `exit code ${code}` : signal;
        this.end(`${this.name} ended unexpectedly (${how})${last === "" ? "" : `: ${last}`}.`, resolve);
      });
    });
  }

  /** Sends one request and waits for its answer; a crash or a timeout counts as an answer with a reason. */
  async ask<T extends object>(request: object): Promise<PeerAnswer<T>> {
    if (this.endReason !== undefined) return { ok: false, reason: this.endReason };
    const id = ++this.lastId;
    const answer = await new Promise<PeerAnswer<object>>((resolve) => {
      const timer = setTimeout(() => {
        this.endReason = `${this.name} did not answer within ${this.timeoutMs / 1000} s.`;
        this.child.kill("SIGKILL");
        resolve({ ok: false, reason: this.endReason });
      }, this.timeoutMs);
      this.waiting = {
        id,
        resolve: (value) => {
          clearTimeout(timer);
          resolve(value);
        },
      };
      this.child.stdin.write(`${JSON.stringify({ id, ...request })}\n`);
    });
    this.waiting = undefined;
    return answer as PeerAnswer<T>; // the protocol's answer to this request
  }

  async close(): Promise<void> {
    if (this.endReason === undefined) {
      this.child.stdin.end(`${JSON.stringify({ id: ++this.lastId, op: "exit" })}\n`);
      const killer = setTimeout(() => this.child.kill("SIGKILL"), 5000);
      await this.ended;
      clearTimeout(killer);
    }
    await this.ended;
  }

  /** Libraries print other lines on stdout: lines that do not answer the open request are ignored. */
  private read(line: string): void {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      return; // not JSON, so not an answer
    }
    const { waiting } = this;
    if (waiting === undefined || typeof value !== "object" || value === null) return;
    if (!("id" in value) || value.id !== waiting.id) return;
    if ("ok" in value && value.ok === true) waiting.resolve({ ...value, ok: true });
    else {
      const reason = "reason" in value ? String(value.reason) : `${this.name} answered without a reason.`;
      waiting.resolve({ ok: false, reason });
    }
  }

  private end(reason: string, resolve: () => void): void {
    this.endReason ??= reason;
    this.waiting?.resolve({ ok: false, reason: this.endReason });
    resolve();
  }
}
