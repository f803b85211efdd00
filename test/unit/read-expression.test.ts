// Reads as texts: layers, heads and positions of a made-up prompt of 12 tokens, and every way to get them wrong.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { canonicalPlace, PLACE_KINDS, placeKindOf, TRANSFORMER_LENS_NAMES } from "../../src/inspect/place-names.ts";
import { expandReads, type ReadContext } from "../../src/inspect/read-expression.ts";
import type { TextConfig } from "../../src/models/config.ts";

const TEXTS = ["<s>", "<image>", "<image>", "<image>", "Where", " is", " the", " ba", "ll", "?", " the", ":"];

const CONTEXT: ReadContext = {
  text: {
    numHiddenLayers: 4,
    numAttentionHeads: 8,
    headDim: 4,
    hiddenSize: 32,
    intermediateSize: 64,
    vocabSize: 1e8,
  } as TextConfig, // what reads look at
  numVisionStates: 3,
  inputs: {
    inputIds: Int32Array.from(TEXTS.keys()),
    images: [
      {
        pixelValues: new Float32Array(),
        runs: [
          [1, 2],
          [3, 4],
        ],
        rowIndex: new Int32Array(2),
        grid: undefined,
      },
      { pixelValues: new Float32Array(), runs: [[2, 3]], rowIndex: new Int32Array(1), grid: undefined },
    ],
  },
  maxPositions: 15,
  textOf: (id) => TEXTS[id] ?? "",
};

test.each<[string, readonly string[]]>([
  [
    "layers.*.hidden_states",
    ["layers.0.hidden_states", "layers.1.hidden_states", "layers.2.hidden_states", "layers.3.hidden_states"],
  ],
  ["layers.1,3.mlp.act_fn", ["layers.1.mlp.act_fn", "layers.3.mlp.act_fn"]],
  ["blocks.2-3.hook_resid_pre", ["blocks.2.hook_resid_pre", "blocks.3.hook_resid_pre"]],
  ["inputs_embeds", ["inputs_embeds"]],
  ["vision.hidden_states.*", ["vision.hidden_states.0", "vision.hidden_states.1", "vision.hidden_states.2"]],
])("the places of %s", (read, places) => {
  expect(expandReads([read], CONTEXT).map(({ place }) => place)).toEqual(places);
});

test.each<[string, readonly number[]]>([
  ["last", [11]],
  ["0", [0]],
  ["-1,-12", [0, 11]],
  ["4-6", [4, 5, 6]],
  ["-3--2", [9, 10]],
  ["10-13", [10, 11, 12, 13]],
  ["image", [1, 2, 3]],
  ["image[1]", [2]],
  ["text", [0, 4, 5, 6, 7, 8, 9, 10, 11]],
  ["prompt", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]],
  ["generated", [12, 13, 14]],
  ['"ball"', [7, 8]],
  ["'the'", [6, 10]],
  ['"?", last, 2', [2, 9, 11]],
])("the positions @%s", (list, positions) => {
  expect(expandReads([`layers.0.hidden_states@${list}`], CONTEXT)[0]?.positions).toEqual(positions);
});

test("heads are numbers and ranges; objects stay as they are", () => {
  const read = { place: "layers.1.hidden_states", positions: [3] };
  expect(expandReads(["layers.2.attention_probs[1,4-6]@0", read], CONTEXT)).toEqual([
    { place: "layers.2.attention_probs", heads: [1, 4, 5, 6], positions: [0] },
    read,
  ]);
});

describe("refuses, in one sentence", () => {
  test.each([
    ["", /is not a read: expected PLACE\[HEADS\]@POSITIONS, such as/],
    ["layers.0.attention_probs[", /is not a read/],
    ["layers.4.hidden_states", /layers must be numbers and ranges from 0 to 3, such as 0,2-3, or \* for all, got 4\.$/],
    ["layers.3-1.hidden_states", /layers must be/],
    ["vision.hidden_states.3", /layers must be numbers and ranges from 0 to 2/],
    ["vision.hidden_states.1@last", /places of the vision tower are read whole: leave out @last\.$/],
    ["layers.0.attention_probs[x]", /heads must be numbers and ranges from 0 to 7/],
    ["layers.0.attention_probs[8]", /heads must be/],
    ["norm.scale[0]", /norm\.scale has no heads to select: leave out \[0\]\.$/],
    ["inputs_embeds@", /positions must be numbers, ranges .* got ""\.$/],
    ["inputs_embeds@1,,2", /positions must be/],
    ['inputs_embeds@"ball', /positions must be/],
    [
      "inputs_embeds@-13",
      /positions of the prompt are 0 to 11 \(or -12 to -1\), and 12 to 14 of generated tokens that run, got -13\.$/,
    ],
    ["inputs_embeds@15", /got 15\.$/],
    ["inputs_embeds@5-4", /the range 5-4 ends before it begins\.$/],
    ["inputs_embeds@image[2]", /the prompt's pictures are image\[0\] to image\[1\], got image\[2\]\.$/],
    ['inputs_embeds@"dog"', /the prompt's text does not contain "dog"; upper and lower case differ\.$/],
    [
      "blocks.0.attn.hook_q",
      /expected hook_embed, ln_final\..*, or blocks\.N\. and hook_resid_pre, .*hook_resid_post\.$/,
    ],
    ["layers.1.nothing", /^layers\.1\.nothing is not a place that can be read: expected/],
    ["layers.0.attn.hook_z", /layers\.0\.attn\.hook_z is not a place that can be read: expected/],
  ])("%s", (read, message) => {
    expect(() => expandReads([read], CONTEXT)).toThrow(message);
  });

  test("more than a file holds: 4 layers × 12 positions × 100 million logits", () => {
    expect(() => expandReads(["layers.*.logit_lens@prompt"], CONTEXT)).toThrow(
      /^The reads take 17\.9 GiB, more than 2 GiB at once: name fewer places, layers, heads or positions\.$/,
    );
  });

  test("what a prompt does not have", () => {
    const none = {
      ...CONTEXT,
      inputs: { ...CONTEXT.inputs, images: [] },
      numVisionStates: 0,
      maxPositions: 12,
      textOf: undefined,
    };
    const refused = (read: string) => expect(() => expandReads([read], none));
    refused("inputs_embeds@image").toThrow(/the prompt has no picture\.$/);
    refused("inputs_embeds@generated").toThrow(/an answer of at least 2: raise --max-new-tokens/);
    refused('inputs_embeds@"ball"').toThrow(/no tokenizer/);
    refused("vision.hidden_states.0").toThrow(/the model has no vision tower\.$/);
  });
});

describe("names", () => {
  test("each of TransformerLens' names is a place of ours, of the layer before where it is the input", () => {
    for (const [name, place] of Object.entries(TRANSFORMER_LENS_NAMES)) {
      expect(placeKindOf(name.replace("N", "2")), name).toBeDefined();
      const own = place.replace("N-1", "1").replace("N", "2");
      expect(canonicalPlace(name.replace("N", "2")), name).toBe(canonicalPlace(own));
    }
    expect(canonicalPlace("blocks.0.hook_resid_pre")).toBe("inputs_embeds");
  });

  test("the Python package has the same table", () => {
    const names = readFileSync(new URL("../../tools/python/src/adaptvis_trace/names.py", import.meta.url), "utf8");
    const entries = [...names.matchAll(/^ {4}"([^"]+)": "([^"]+)",$/gm)].map(([, name, place]) => [name, place]);
    expect(entries).toEqual(Object.entries(TRANSFORMER_LENS_NAMES));
  });

  test("the guide's tables have every place and every name of TransformerLens, and no others", () => {
    const guide = readFileSync(new URL("../../tools/docs/guide/traces.md", import.meta.url), "utf8");
    const section = guide.slice(guide.indexOf("## Places"), guide.indexOf("## Python and notebooks"));
    const rows = section.split("\n").filter((line) => line.startsWith("| `"));
    const places = PLACE_KINDS.map(({ name, shape, content }) => `| \`${name}\` | ${shape} | ${content} |`);
    const others = Object.entries(TRANSFORMER_LENS_NAMES).map(([name, place]) => `| \`${name}\` | \`${place}\` |`);
    expect(rows).toEqual([...places, ...others]);
  });
});
