// Weights in every form on Deno's WebGPU: the kernels that pack and unpack them, through naga, give the ids that Dawn's give.

import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WEIGHT_DTYPES } from "../../src/gpu/tensor.ts";
import type * as adaptvis from "../../src/index.node.ts";
import { ask, differences, type HostAnswer } from "../hosts/ask.ts";
import { bundleProgram, removePrograms, repositoryRoot } from "../setup/bundle.ts";
import { runInDeno, usableDrivers } from "./deno.ts";

const MODEL = join(repositoryRoot, "weights", "tiny-spatial");
const bundleUrl = (name: string) => pathToFileURL(join(repositoryRoot, "dist", name)).href;

/** The faster one: naga compiles the same kernels for either, and parity.test.ts runs an answer on both. */
const drivers = (await usableDrivers()).slice(-1);

afterAll(removePrograms);

describe.each(drivers)("on %s", (driver) => {
  let device: GPUDevice;
  let node: typeof adaptvis;
  let answers: readonly HostAnswer[];

  beforeAll(async () => {
    const program = await bundleProgram("test/deno/answer.deno.ts", "deno");
    const { stdout } = await runInDeno(program, [bundleUrl("deno.js"), MODEL, ...WEIGHT_DTYPES], { driver });
    answers = JSON.parse(stdout) as readonly HostAnswer[]; // what answer.deno.ts prints
    node = (await import(bundleUrl("node.js"))) as typeof adaptvis; // the bundle of that module
    const { adapter } = await node.openNodeAdapter(driver);
    device = await node.requestGpuDevice(adapter);
  });

  test.each(WEIGHT_DTYPES)("%s", async (dtype) => {
    const expected = await ask(node, MODEL, device, dtype);
    const actual = answers[WEIGHT_DTYPES.indexOf(dtype)];
    if (actual === undefined) throw new Error(`Deno gave ${answers.length} answers.`);
    expect(expected.ids).toHaveLength(6);
    expect(differences(actual, expected)).toEqual([]);
  });
});
