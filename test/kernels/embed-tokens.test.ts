import { describe, expect, test } from "vitest";
import { embedTokens } from "../../src/gpu/ops/embedding.ts";
import { WEIGHT_DTYPES, type WeightDtype } from "../../src/gpu/tensor.ts";
import { embedTokens as twin } from "../reference/embed-tokens.ts";
import { createRandom } from "../reference/random.ts";
import { storeWeights, widen } from "../reference/weight-formats.ts";
import { BOUNDS } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { POISON, runKernel } from "../setup/run-kernel.ts";

async function embed(
  table: ArrayLike<number>,
  ids: readonly number[],
  options: { readonly columns: number; readonly dtype: WeightDtype; readonly splits?: readonly number[] },
): Promise<Float32Array> {
  const { columns, dtype, splits = [] } = options;
  const { output } = await runKernel(({ program, upload, output, matrix }) => {
    const target = output(ids.length * columns);
    embedTokens(program, {
      table: matrix(table, [table.length / columns, columns], { dtype, splits }),
      ids: upload(Uint32Array.from(ids)),
      output: target,
      numRows: ids.length,
    });
    return { output: target };
  });
  return output;
}

describe.each(WEIGHT_DTYPES)("embedTokens, %s", (dtype) => {
  // Columns: tiny-spatial's 128, one vec4, a workgroup's 256 and its neighbours.
  test.each([128, 4, 252, 256, 260])("%d columns, the table whole and in pieces", async (columns) => {
    const numTokens = 48;
    const table = createRandom(columns).normals(numTokens * columns);
    const ids = [0, 47, 7, 8, 7, 19, 20, 21, 1];
    const expected = twin(storeWeights(table, dtype, columns).values, ids, columns);
    for (const splits of [[], [8, 20]]) {
      const actual = await embed(table, ids, { columns, dtype, splits });
      expectClose(actual, expected, BOUNDS.exact, { shape: [ids.length, columns] });
    }
  });

  test("a token outside of the table leaves its row alone", async () => {
    // 127: q8 and q4 hold it exactly too, with a scale of 1 and of −127/8, and q4_1 as a minimum.
    const actual = await embed(new Float32Array(32).fill(127), [7, 8], { columns: 4, dtype });
    expect([...actual]).toEqual([127, 127, 127, 127, POISON, POISON, POISON, POISON]);
  });
});

describe("the test's own f16 and bf16", () => {
  test("every finite f16 survives decoding and encoding", () => {
    const all = Array.from({ length: 0x10000 }, (_, bits) => bits).filter((bits) => (bits & 0x7c00) !== 0x7c00);
    const { stored } = storeWeights(
      all.map((bits) => widen(bits, "f16")),
      "f16",
    );
    expect(stored).toEqual(Uint16Array.from(all));
  });

  test("ties go to the even neighbour, too large values to infinity", () => {
    const bits = (value: number, dtype: "f16" | "bf16") => storeWeights([value], dtype).stored[0];
    expect(bits(1 + 2 ** -11, "f16")).toBe(0x3c00);
    expect(bits(1 + 3 * 2 ** -11, "f16")).toBe(0x3c02);
    expect(bits(65_504, "f16")).toBe(0x7bff);
    expect(bits(65_520, "f16")).toBe(0x7c00);
    expect(bits(1 + 2 ** -8, "bf16")).toBe(0x3f80);
    expect(bits(-3.140625, "bf16")).toBe(0xc049);
  });
});

test.each(["f16", "bf16"] as const)("every finite normal %s weight widens exactly", async (dtype) => {
  const exponent = dtype === "f16" ? 0x7c00 : 0x7f80;
  const all = Array.from({ length: 0x10000 }, (_, bits) => bits).filter(
    (bits) => (bits & exponent) !== exponent && (bits & exponent) !== 0,
  );
  const table = all.map((bits) => widen(bits, dtype));
  const columns = 512;
  const actual = await embed(
    table,
    Array.from({ length: table.length / columns }, (_, row) => row),
    { columns, dtype },
  );
  expectClose(actual, table, BOUNDS.exact, { shape: [table.length] });
});

test("subnormal f16 weights, which LLaVA's checkpoints have, widen exactly", async () => {
  const table = Array.from({ length: 1024 }, (_, bits) => widen(bits, "f16"));
  const actual = await embed(table, [0], { columns: 1024, dtype: "f16" });
  expectClose(actual, table, BOUNDS.exact, { shape: [1024] });
});
