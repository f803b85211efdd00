// Watches the passes of an explained answer from outside: what every buffer of a pass held before it and holds after it.
import type { AnswerOptions } from "../../src/answer.ts";
import type { Description, TensorView } from "../../src/gpu/describe.ts";
import type { Executor } from "../../src/gpu/executor.ts";
import type { Constant, Kernel } from "../../src/gpu/kernel.ts";
import type { PreparedDispatch, PreparedProgram } from "../../src/gpu/prepared-program.ts";
import type { Binding } from "../../src/gpu/program.ts";
import { ExplainExecutor } from "../../src/inspect/explain-executor.ts";
import type { ExplainedPass } from "../../src/inspect/explained-pass.ts";
import type { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";

/** A NaN that no kernel computes: what stands where a pass is expected to write. */
export const POISON_WORD = 0xffc0dead;

/** One dispatch. */
export interface WatchedCall {
  readonly kernel: Kernel;
  readonly constants: Readonly<Record<string, Constant>>;
  readonly params: Readonly<Record<string, number>>;
  readonly grid: readonly [number, number, number];
  /** The words of `struct Step`, and of the score edits where the kernel reads them; else empty. */
  readonly words: Uint32Array<ArrayBuffer>;
  readonly editWords: Uint32Array<ArrayBuffer>;
}

/** One pass, with its bindings' words by name. */
export interface WatchedPass {
  readonly pass: ExplainedPass;
  readonly call: WatchedCall;
  readonly bound: Description["tensors"];
  readonly before: ReadonlyMap<string, Uint32Array<ArrayBuffer>>;
  readonly after: ReadonlyMap<string, Uint32Array<ArrayBuffer>>;
}

/** Answers pass by pass. Every word that a pass is said to write without reading it is poisoned before. */
export async function watchPasses(
  model: Llava,
  inputs: ModelInputs,
  options: { readonly answer: AnswerOptions; readonly onPass: (watched: WatchedPass) => void },
): Promise<void> {
  const { gpu } = model;
  const recorder = new ExplainExecutor(gpu, {
    readsValues: true,
    onPass: undefined,
    signal: undefined,
  });
  const run = async (program: PreparedProgram, command: PreparedProgram["commands"][number]) => {
    const only = Object.create(program, { commands: { value: [command] } }) as PreparedProgram; // the same but for these
    await recorder.run([{ program: only, stage: program.program.label }]);
  };
  const dispatch = async (program: PreparedProgram, prepared: PreparedDispatch) => {
    const { kernel, grid } = prepared.command;
    const { constants = {}, params = {}, bindings, describe } = prepared.command.call;
    if (describe === undefined) throw new Error(`${kernel.name} does not describe itself`);
    const before = new Map<string, Uint32Array<ArrayBuffer>>();
    const read = async (into: Map<string, Uint32Array<ArrayBuffer>>) => {
      for (const [name, binding] of Object.entries(bindings)) {
        const { buffer, offset, size } = partOf(binding);
        into.set(name, new Uint32Array(await gpu.readBuffer(buffer, size, offset)));
      }
    };
    await read(before);
    const words = before.get("step") ?? new Uint32Array(0);
    const editWords = (constants.EDIT === true && before.get("edits")) || new Uint32Array(0);
    const call = { kernel, constants, params, grid, words, editWords };
    const { tensors: bound } = await describe(async (name) => before.get(name) ?? new Uint32Array(0));
    for (const [name, { written, isUpdated }] of Object.entries(bound)) {
      const held = before.get(name);
      const binding = bindings[name];
      if (held === undefined || binding === undefined || written.length === 0 || isUpdated === true) continue;
      for (const { view } of written) for (const word of wordsOf(view)) held[word] = POISON_WORD;
      const { buffer, offset } = partOf(binding);
      gpu.write(buffer, held, offset);
    }
    await run(program, prepared);
    const after = new Map<string, Uint32Array<ArrayBuffer>>();
    await read(after);
    const pass = recorder.passes.at(-1);
    if (pass === undefined) throw new Error(`${kernel.name} was not recorded`);
    options.onPass({ pass, call, bound, before, after });
  };
  try {
    const watching: Executor = {
      maxLookahead: 1,
      prepare: (program) => recorder.prepare(program),
      run: async (programs) => {
        for (const { program } of programs) {
          for (const command of program.commands) {
            if ("pipeline" in command) await dispatch(program, command);
            else await run(program, command);
          }
        }
      },
    };
    await model.answer(inputs, { ...options.answer, reusePrefix: false }, { executor: watching });
  } finally {
    recorder.dispose();
  }
}

/** Indices of a view's words, row by row. */
export function wordsOf({ shape, strides, offset, rows }: TensorView): readonly number[] {
  return shape.reduce<readonly number[]>(
    (starts, size, axis) => {
      const indices = axis === 0 && rows !== undefined ? rows : Array.from({ length: size }, (_, index) => index);
      return starts.flatMap((start) => indices.map((index) => start + index * (strides[axis] ?? 1)));
    },
    [offset],
  );
}

function partOf(binding: Binding): {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly size: number;
} {
  return "buffer" in binding ? binding : { buffer: binding, offset: 0, size: binding.size };
}
