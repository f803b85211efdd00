// Compiles a model's pipelines while its weights load. Nothing is submitted, so that the buffers need no contents.
import type { BufferMaker, Gpu } from "./gpu/device.ts";
import { requestPipelines } from "./gpu/prepared-program.ts";
import { PLAIN, ProgramRecorder, type QuestionNeeds, type RecordedModel } from "./program-recorder.ts";

/** What a greedy question about a picture needs. */
export const GREEDY_NEEDS: QuestionNeeds = {
  hasImage: true,
  prefills: [PLAIN],
  steps: [PLAIN],
  repetitionPenalty: 1,
  topK: 0,
};

/** What questions need that are expected unless others are: a greedy one, and the extra step of one with AdaptVis. */
export const USUAL_NEEDS: readonly QuestionNeeds[] = [
  GREEDY_NEEDS,
  { ...GREEDY_NEEDS, steps: [{ isEdited: true, isCaptured: false }] },
];

/** Starts compiling the pipelines that questions need, in their order; a program that runs first waits for its own. */
export function precompile(gpu: Gpu, model: RecordedModel, questions: readonly QuestionNeeds[]): void {
  const recorder = new ProgramRecorder(gpu, placeholders(gpu), { ...model, batchRows: 1 });
  for (const needs of questions) {
    for (const program of recorder.question(needs, [model.chunkRows])) requestPipelines(gpu, program);
  }
}

/** Makes nothing: one small buffer takes the place of each, which does for programs that are recorded and not run. */
export function placeholders({ unused }: Gpu): BufferMaker {
  return { createBuffer: () => unused, createBufferWith: () => unused };
}
