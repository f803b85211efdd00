// A few seconds of mixed load; longer runs: npm run load.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tinySpatial } from "../cli/command.ts";
import { runLoad } from "./load.ts";
import { startServer } from "./server.ts";

test("answers stay right beside clients that go away, read slowly, send too much or nonsense, and the server ends cleanly", async () => {
  const server = await startServer("--max-waiting", "64", "--max-per-client", "80");
  const bytes = await readFile(join(tinySpatial, "demo", "mug_left_of_dog.jpeg"));
  const report = await runLoad(server, {
    seconds: 8,
    connections: 4,
    picture: `data:image/jpeg;base64,${bytes.toString("base64")}`,
    longQuestion: JSON.stringify({ messages: [{ role: "user", content: "Hello" }], max_tokens: 300, stream: true }),
  });
  expect(report.wrong).toEqual([]);
  expect(report.right).toBeGreaterThan(5);
  expect(Math.min(report.cancelled, report.slow, report.halfOpen, report.oversized)).toBeGreaterThan(0);
  expect(Object.keys(report.statuses).filter((status) => Number(status) >= 500)).toEqual([]);
  expect(report.left).toBe(0);
  expect(
    server
      .log()
      .split("\n")
      .filter((line) => line.includes('"level":50')),
  ).toEqual([]);
  expect(await server.stop()).toBe(0);
});
