// Deno computes on the drivers that the tests use.

import { afterAll, beforeAll, expect, test } from "vitest";
import { openNodeAdapter } from "../../src/gpu/hosts/adapter.node.ts";
import { bundleProgram, removePrograms } from "../setup/bundle.ts";
import { runInDeno } from "./deno.ts";

let program: string;

beforeAll(async () => {
  program = await bundleProgram("test/deno/add-arrays.deno.ts", "deno");
});

afterAll(removePrograms);

test("Deno adds two arrays on SwiftShader", async () => {
  const { stdout } = await runInDeno(program);
  expect(JSON.parse(stdout)).toMatchObject({ wrongSums: 0 });
});

test("Deno adds two arrays on lavapipe", async (context) => {
  const usable = await openNodeAdapter("lavapipe").catch(() => undefined);
  if (usable === undefined) context.skip("no lavapipe on this machine that Dawn accepts");
  const { stdout } = await runInDeno(program, [], { driver: "lavapipe" });
  expect(JSON.parse(stdout)).toMatchObject({ wrongSums: 0 });
});
