// Packs an intervention's edits for the kernels, and describes the prompt and the model to interventions.
import type { AnswerOptions } from "./answer.ts";
import { roundConfidence } from "./interventions/confidence.ts";
import { type EditContext, packedEdit, type ScoreEdit } from "./interventions/intervention.ts";
import type { ModelConfig, TextConfig } from "./models/config.ts";
import { imageRuns, type ModelInputs } from "./models/inputs.ts";
import { type ScoreEdit as PackedEdit, packScoreEdits } from "./models/layers/score-edits.ts";

/** The prompt and the model as interventions see them. */
export function editContext(inputs: ModelInputs, { text }: Pick<ModelConfig, "text">): EditContext {
  return contextOf(text, {
    promptLength: inputs.inputIds.length,
    imageRuns: imageRuns(inputs),
    images: inputs.images,
  });
}

/** The same of a prompt of which these alone are known. */
export function contextOf(
  text: TextConfig,
  prompt: Pick<EditContext, "promptLength" | "imageRuns" | "images">,
): EditContext {
  return {
    numLayers: text.numHiddenLayers,
    numHeads: text.numAttentionHeads,
    numKeyValueHeads: text.numKeyValueHeads,
    hiddenSize: text.hiddenSize,
    intermediateSize: text.intermediateSize,
    tieWordEmbeddings: text.tieWordEmbeddings,
    ...prompt,
  };
}

/** A confidence as it is compared and reported: rounded to two decimals unless the options say otherwise. */
export function roundedConfidence(confidence: number, options: Pick<AnswerOptions, "roundConfidence">): number {
  return options.roundConfidence === false ? confidence : roundConfidence(confidence);
}

/** An intervention's edits as one row of a batch takes them. */
export function rowOfEdits(edits: readonly ScoreEdit[], context: EditContext): readonly PackedEdit[] {
  return edits.map((edit) => packedEdit(edit, context));
}

/** Packs the edits of each batch row for the kernels; undefined when no row has edits. */
export function packedEdits(
  rows: readonly (readonly ScoreEdit[])[],
  context: EditContext,
): Uint32Array<ArrayBuffer> | undefined {
  if (rows.every((edits) => edits.length === 0)) return undefined;
  return packScoreEdits(
    rows.map((edits) => rowOfEdits(edits, context)),
    context,
  );
}
