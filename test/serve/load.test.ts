// Twelve seconds of mixed load. ADAPTVIS_TEST_LOAD_SECONDS=300 makes it five minutes; longer runs: npm run load.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tinySpatial } from "../cli/command.ts";
import { memoryGrowth, runLoad } from "./load.ts";
import { startServer } from "./server.ts";

const SECONDS = Number(process.env.ADAPTVIS_TEST_LOAD_SECONDS ?? 12);
const DEMO = join(tinySpatial, "demo");

test("answers stay right beside clients that go away, read slowly, send too much or nonsense, and the server ends cleanly", {
  timeout: SECONDS * 1000 + 300_000,
}, async () => {
  const server = await startServer("--max-waiting", "64", "--max-per-client", "80");
  const pictures = await Promise.all(
    ["mug_left_of_dog.jpeg", "teapot_on_rings.jpeg", "gift_behind_guitar.png"].map(async (name) => {
      const bytes = await readFile(join(DEMO, name));
      return `data:image/${name.split(".").at(-1)};base64,${bytes.toString("base64")}`;
    }),
  );
  const report = await runLoad(server, { seconds: SECONDS, connections: 6, pictures });
  expect(report.wrong).toEqual([]);
  expect([report.broken, report.timeouts]).toEqual([0, 0]);
  expect(report.right).toBeGreaterThan(SECONDS / 4);
  const { cancelled, slow, unread, halfOpen, oversized } = report;
  expect(Math.min(cancelled, slow, unread, halfOpen, oversized)).toBeGreaterThan(0);
  expect(report.statuses[400]).toBeGreaterThan(0);
  expect(Object.keys(report.statuses).filter((status) => Number(status) >= 500)).toEqual([]);
  expect(report.left).toBe(0);
  // A short run still fills caches.
  expect(memoryGrowth(report), report.residentMiB.join()).toBeLessThan(SECONDS < 300 ? 0.25 : 0.1);
  const errors = server.log().split("\n");
  expect(errors.filter((line) => line.includes('"level":50'))).toEqual([]);
  expect(await server.stop()).toBe(0);
});
