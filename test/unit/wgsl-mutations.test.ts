// What the mutation run changes in a shader, and what it leaves alone.
import { expect, test } from "vitest";

interface Edit {
  readonly kind: string;
  readonly line: number;
  readonly before: string;
  readonly after: string;
}
interface WgslMutations {
  wgslMutations(text: string): readonly Edit[];
}

const tool = new URL("../../tools/mutation/wgsl-mutations.mjs", import.meta.url).href;

async function changes(body: string): Promise<readonly string[]> {
  const { wgslMutations }: WgslMutations = await import(tool);
  return wgslMutations(`fn f() {\n${body}\n}`).map(({ kind, after }) => `${kind}: ${after}`);
}

test("operators, literals, min, select, statements and barriers are changed", async () => {
  expect(await changes("x = a + 2u;")).toEqual([
    "statement: ",
    "operator: x = a - 2u;",
    "bound: x = a + 1u;",
    "bound: x = a + 3u;",
  ]);
  expect(await changes("let x = a < b;")).toEqual(["operator: let x = a <= b;", "operator: let x = a >= b;"]);
  expect(await changes("let x = min(-a, 3.0);")).toEqual([
    "min/max: let x = max(-a, 3.0);",
    "operator: let x = min(a, 3.0);",
    "constant: let x = min(-a, 1.5);",
  ]);
  expect(await changes("let x = select(f(a, b), vec2<f32>(c, d), e);")).toEqual([
    "select: let x = select(vec2<f32>(c, d), f(a, b), e);",
  ]);
  expect(await changes("workgroupBarrier();")).toEqual(["barrier: "]);
  expect(await changes("for (var i = n; i > 0x10u; i++) { return; }")).toEqual([
    "operator: for (var i = n; i >= 0x10u; i++) { return; }",
    "operator: for (var i = n; i <= 0x10u; i++) { return; }",
    "bound: for (var i = n; i > 0xfu; i++) { return; }",
    "bound: for (var i = n; i > 0x11u; i++) { return; }",
    "statement: for (var i = n; i > 0x10u; i++) { }",
  ]);
});

test("comments, types, declarations and returned values are left alone", async () => {
  expect(await changes("let x = array<vec4<f32>, 8>(); // 1 + 2 < 3\n/* x = 1; */ return x;")).toEqual([]);
  const { wgslMutations }: WgslMutations = await import(tool);
  const declarations =
    "struct Params { a: u32 }\n@group(0) @binding(1) var<uniform> params: Params;\noverride N: u32 = 4u;\n";
  expect(wgslMutations(`${declarations}const HALF = 0.5;\n@compute @workgroup_size(64) fn main() {}`)).toMatchObject([
    { kind: "constant", line: 4, before: "const HALF = 0.5;", after: "const HALF = 0.25;" },
  ]);
});
