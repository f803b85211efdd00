// A connection to Redis or Valkey that waits a bounded time for a server that went away, and says so in one sentence.
import type { Redis, RedisOptions } from "ioredis";
import { InputError } from "../../errors.ts";

/** How a connection is held. */
interface LinkOptions {
  /** How long a lost server is waited for, milliseconds. */
  readonly patienceMs: number;
  /** Receives a line when the server is lost, and when it is back. */
  readonly note: (text: string) => void;
}

/** Milliseconds between two attempts to reach a server that was lost. */
const RETRY_MS = 500;
/** A server that leaves a command without a reply for so long counts as lost; no command of ours waits for something. */
const REPLY_MS = 30_000;
const CONNECT_MS = 10_000;

/** An open connection. */
export class RedisLink {
  /** The address without its password. */
  readonly name: string;
  readonly client: Redis;
  private readonly patienceMs: number;
  private readonly state: LinkState;

  private constructor(name: string, client: Redis, of: { readonly patienceMs: number; readonly state: LinkState }) {
    this.name = name;
    this.client = client;
    this.patienceMs = of.patienceMs;
    this.state = of.state;
  }

  /**
   * Connects to a server.
   * @param url redis://[user:password@]host[:port][/database], or rediss:// for TLS
   * @throws InputError when there is no such server, it refuses, or its version is below 5; or when the package ioredis is missing.
   */
  static async open(url: string, { patienceMs, note }: LinkOptions): Promise<RedisLink> {
    const name = withoutPassword(url);
    const { Redis } = await loadPackage(() => import("ioredis"));
    const state: LinkState = { lostAt: undefined, isReady: false, isClosed: false };
    const options: RedisOptions = {
      lazyConnect: true,
      maxRetriesPerRequest: null, // commands wait for a lost server, up to the patience
      connectTimeout: Math.min(CONNECT_MS, patienceMs),
      socketTimeout: REPLY_MS,
      keepAlive: REPLY_MS,
      retryStrategy: () => {
        if (!state.isReady || state.isClosed) return null;
        const isOver = state.lostAt !== undefined && performance.now() - state.lostAt > patienceMs;
        return isOver ? null : RETRY_MS;
      },
    };
    const client = new Redis(url, options);
    let reason: unknown;
    client.on("error", (error) => {
      reason = error;
    });
    try {
      await client.connect();
      checkVersion(name, await client.info("server"));
    } catch (error) {
      client.disconnect();
      if (error instanceof InputError) throw error;
      throw new InputError(
        `${name} of --queue cannot be used (${reasonOf(reason ?? error)}): give the address of a running Redis or Valkey.`,
        { cause: error },
      );
    }
    state.isReady = true;
    client.on("close", () => {
      if (state.isClosed || state.lostAt !== undefined) return;
      state.lostAt = performance.now();
      note(`adaptvis: ${name} is gone; waiting up to ${Math.ceil(patienceMs / 1000)} s for it`);
    });
    client.on("ready", () => {
      if (state.lostAt === undefined) return;
      state.lostAt = undefined;
      note(`adaptvis: ${name} is back`);
    });
    return new RedisLink(name, client, { patienceMs, state });
  }

  /** Whether the server was lost for longer than it is waited for. */
  get isLost(): boolean {
    return !this.state.isClosed && this.client.status === "end";
  }

  /** Runs commands; while the server is away, they wait. @throws InputError, in one sentence, for what the server or the connection fails with. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      if (this.isLost) {
        throw new InputError(
          `${this.name} did not come back within ${Math.ceil(this.patienceMs / 1000)} s: what was answered is kept; start the server and run the same command again.`,
          { cause },
        );
      }
      if (cause instanceof Error && cause.name === "ReplyError") {
        throw new InputError(`${this.name} refused a command: ${cause.message.replace(/\.$/, "")}.`, { cause });
      }
      throw cause;
    }
  }

  /** Disconnects at once. */
  close(): void {
    this.state.isClosed = true;
    this.client.disconnect();
  }
}

interface LinkState {
  lostAt: number | undefined;
  isReady: boolean;
  isClosed: boolean;
}

/** Loads a package that only the queue needs. @throws InputError where it is not installed. */
export async function loadPackage<T>(load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    const isMissing = cause instanceof Error && "code" in cause && cause.code === "ERR_MODULE_NOT_FOUND";
    if (!isMissing) throw cause;
    throw new InputError("--queue needs the packages bullmq and ioredis: run npm install bullmq ioredis.", { cause });
  }
}

/** Checks an address. @throws InputError for something else than redis:// or rediss://. */
export function checkRedisUrl(url: string): void {
  const { protocol, hostname, pathname } = URL.canParse(url)
    ? new URL(url)
    : { protocol: "", hostname: "", pathname: "" };
  if (/^rediss?:$/.test(protocol) && hostname !== "" && /^(\/\d*)?$/.test(pathname)) return;
  throw new InputError(
    `--queue: expected redis://host:port, or redis://host:port/database, got ${JSON.stringify(withoutPassword(url))}.`,
  );
}

function withoutPassword(url: string): string {
  return url.replace(/^(\w+:\/\/)[^@/]*@/, "$1");
}

function checkVersion(name: string, info: string): void {
  const [, version = "0"] = /^redis_version:(\S+)/m.exec(info) ?? [];
  if (Number.parseInt(version, 10) >= 5) return;
  throw new InputError(`${name} of --queue is Redis ${version}: expected 5 or newer.`);
}

function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  // Of several addresses that were tried, Node gives an error without a message.
  if (error instanceof AggregateError && message === "") return reasonOf(error.errors[0]);
  return message.replace(/\.$/, "");
}
