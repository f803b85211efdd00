// A Redis server that belongs to one test: on a free port, in a folder that is removed with it.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Why tests with a server are skipped; undefined where there is one. */
export const noRedis: string | undefined =
  spawnSync("redis-server", ["--version"]).status === 0
    ? undefined
    : "no redis-server on this machine (Debian's package redis-server)";

/** A server that a test may kill and start again. */
export interface RedisServer {
  readonly url: string;
  /** Starts it; it has the data of before unless it was started with `keeps: false`. */
  start(): Promise<void>;
  /** Ends it as a crash does. */
  kill(): Promise<void>;
  remove(): Promise<void>;
}

/**
 * Starts a server.
 * @param options.keeps whether every write is on disk before it is confirmed; otherwise nothing is
 */
export async function startRedis(options: { readonly keeps?: boolean; readonly args?: readonly string[] } = {}) {
  const folder = await mkdtemp(join(tmpdir(), "adaptvis-redis-"));
  const port = await freePort();
  const keeping = options.keeps ? ["--appendonly", "yes", "--appendfsync", "always"] : [];
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--maxmemory-policy", "noeviction"];
  let child: ChildProcess | undefined;
  const server: RedisServer = {
    url: `redis://127.0.0.1:${port}`,
    async start() {
      child = spawn("redis-server", [...args, "--save", "", ...keeping, ...(options.args ?? [])]);
      await new Promise<void>((resolve, reject) => {
        let output = "";
        child?.stdout?.on("data", (text: Buffer) => {
          output += text.toString();
          if (output.includes("Ready to accept connections")) resolve();
        });
        child?.once("close", () => reject(new Error(`redis-server ended: ${output}`)));
      });
    },
    async kill() {
      const ended = new Promise((resolve) => child?.once("close", resolve));
      child?.kill("SIGKILL");
      await ended;
      child = undefined;
    },
    async remove() {
      if (child !== undefined) await server.kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
  await server.start();
  return server;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      probe.close(() => resolve(port));
    });
  });
}
