// The kernels through naga, which Firefox and Deno compile them with, to every language that a driver takes.
import { expect, test } from "vitest";
import { ALL_KERNELS } from "../../../src/gpu/ops/kernels.ts";
import { WEIGHT_DTYPES } from "../../../src/gpu/tensor.ts";
import { labPipelines } from "../../../src/isa/run-lab.node.ts";
import { nagaVersion, pipelinesOfOtherTexts, translate } from "../../../tools/naga/check.mjs";

const version = await nagaVersion();
const skipped = version === undefined ? " (skipped: naga is not on the PATH; cargo install naga-cli)" : "";

// reason: naga is not on the PATH
test.skipIf(version === undefined)(`every kernel text becomes MSL, HLSL, GLSL and SPIR-V${skipped}`, async () => {
  const recorded = labPipelines(WEIGHT_DTYPES).map(({ kernel: { name, code }, constants }) => ({
    name,
    code,
    constants,
  }));
  const byText = new Map(recorded.map((pipeline) => [pipeline.code, pipeline]));
  const pipelines = [...byText.values(), ...pipelinesOfOtherTexts(ALL_KERNELS, recorded)];
  expect(new Set(pipelines.map(({ code }) => code))).toEqual(new Set(ALL_KERNELS.map(({ code }) => code)));
  const results = await translate(pipelines);
  expect(results.filter(({ failures, lacking }) => failures.length + lacking.length > 0)).toEqual([]);
  // Those that CPU adapters run need subgroups for quads; of a GPU's kernels, each that needs them has one that does not.
  const names = (needsSubgroups: boolean) =>
    new Set(
      results.filter(({ hasUnknownDirective }) => hasUnknownDirective === needsSubgroups).map(({ name }) => name),
    );
  const ofGpus = [...names(true)].filter((name) => recorded.some((pipeline) => pipeline.name === name));
  expect(ofGpus.toSorted()).toEqual(["gated-matvec-subgroup", "matvec-subgroup", "qkv-rope-subgroup"]);
  for (const name of ofGpus) expect(names(false)).toContain(name.replace("subgroup", "reduce"));
});

// reason: naga is not on the PATH
test.skipIf(version === undefined)(
  `what naga refuses is told by language, and what a language lacks as such${skipped}`,
  async () => {
    const kernel = (type: string, value: string) => `${type === "f16" ? "enable f16;\n" : ""}override SIZE: u32;
@group(0) @binding(0) var<storage, read_write> data: array<${type}>;
@compute @workgroup_size(SIZE)
fn main(@builtin(local_invocation_index) index: u32) { data[index] = ${value}; }`;
    const results = await translate([
      { name: "good", code: kernel("f32", "1.0"), constants: { SIZE: 64 } },
      { name: "half", code: kernel("f16", "1.0h"), constants: { SIZE: 64 } },
      { name: "typed", code: kernel("f32", "1u"), constants: { SIZE: 64 } },
      { name: "unset", code: kernel("f32", "1.0"), constants: {} },
    ]);
    expect(results.map(({ name }) => name)).toEqual(["good", "half", "typed", "unset"]);
    expect(results.map(({ failures }) => failures.map(({ backend }) => backend))).toEqual([
      [],
      [],
      ["MSL", "HLSL", "GLSL", "SPIR-V"],
      ["MSL", "HLSL", "GLSL", "SPIR-V"],
    ]);
    expect(results.map(({ lacking }) => lacking)).toEqual([
      [],
      [{ backend: "GLSL", message: "GLSL ES 3.1 has no f16" }],
      [],
      [],
    ]);
  },
);
