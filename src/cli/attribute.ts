// adaptvis attribute: what the embedding, each head and each MLP add to a token's logit.
import type { Command } from "commander";
import { type Attribution, attributeLogit, type LogitPart } from "../attribution.ts";
import { encodeSafetensors } from "../checkpoint/safetensors-writer.ts";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { type TraceTensor, traceMetadata } from "../inspect/trace.ts";
import type { Llava } from "../llava.ts";
import type { ModelInputs } from "../models/inputs.ts";
import { asUsage, checkOutput, modelPath, someText, wholeFrom } from "./checks.ts";
import {
  addMethodOptions,
  addQuestionOptions,
  checkWords,
  type MethodFlags,
  methodOf,
  methodOptions,
  type QuestionFlags,
  questionOf,
} from "./flags.ts";
import { tokenName } from "./lens.ts";
import { elapsed, openModelAndPictures } from "./open-model.ts";
import { examples } from "./package-files.ts";
import { notePromptForm } from "./prompt-form.ts";
import { defineCommand, type Session, table } from "./session.ts";

/** Parsed options of `attribute`. */
interface AttributeFlags extends QuestionFlags, MethodFlags {
  readonly at: string;
  readonly token?: number | string;
  readonly against?: number | string;
  readonly top: number;
  readonly out?: string;
}

/** `adaptvis attribute`. */
export const attributeCommand = defineCommand("attribute", describeAttribute, attribute);

/** Describes `attribute` to commander. */
function describeAttribute(command: Command): Command {
  addQuestionOptions(
    command.description("Divide a token's logit into what the embedding, each head and each MLP add to it."),
  )
    .option(
      "--token <text>",
      "the token, as a text of one token, such as Left, or #301 for its id (default: the most probable)",
      tokenArgument,
    )
    .option("--against <text>", "subtract the logit of this token", tokenArgument)
    .option(
      "--at <position>",
      "the row whose logit it is: one position, as behind the @ of trace --read; the row of a token chooses the next",
      someText,
      "last",
    )
    .option("--top <number>", "parts to list by size", wholeFrom(0), 10)
    .option(
      "--out <file.safetensors>",
      "also write the parts: heads [layers, H], attention_bias and mlp [layers], embedding []",
      someText,
    );
  return addMethodOptions(command, 1)
    .addHelpText(
      "after",
      `
--token Left is the token with or without a space before it, whichever is more probable in that row; " Left" is literal.
The residual stream at one row is the sum of the embedding and of what every head and MLP added to it. The final norm divides
it by one number, which is kept as it is; then each part's product with the token's row of lm_head is what it adds to the
logit (direct logit attribution). The parts add up to the logit, up to rounding; --json has both sums.`,
    )
    .addHelpText(
      "after",
      examples(({ picture }) => {
        const question = '"Where is the ball in relation to the robot? Answer with left, right, front or behind."';
        return [
          `attribute --image ${picture} ${question}`,
          `attribute --image ${picture} --token Behind --against Left ${question}`,
          `attribute --image ${picture} --method adaptvis --out parts.safetensors --json ${question}`,
        ];
      }),
    );
}

/** Runs `attribute`. */
async function attribute(session: Session, question: string | undefined, flags: AttributeFlags): Promise<void> {
  checkWords(question, flags, "attribute");
  methodOf(flags);
  const { image: pictures = [] } = flags;
  await checkOutput("--out", flags.out, [...pictures, modelPath(flags)]);
  const options = await methodOptions(flags);
  const { open, images } = await openModelAndPictures(session, flags, { firstQuestion: options });
  try {
    const { model } = open;
    const started = performance.now();
    const inputs = await asUsage(() => model.prepare(questionOf(question, flags, images)));
    const { token, against, at: position } = flags;
    const found = await asUsage(() =>
      attributeLogit(model, inputs, { ...options, token, against, position, signal: session.signal }),
    );
    if (flags.out !== undefined)
      await writeFileWhole(flags.out, encodeSafetensors(...partsFile(found, { model, inputs })));
    const answerMs = elapsed(started);
    notePromptForm(session, model, flags);
    const { answer, ...rest } = found;
    session.result({
      answer: answer.text.trim(),
      method: answer.method,
      factor: answer.factor,
      promptTokens: answer.promptTokens,
      ...rest,
      against: found.against ?? null,
      ...(flags.out !== undefined && { out: flags.out }),
      ...open.facts(),
      timings: { loadMs: open.loadMs, answerMs },
    });
    session.print(`${attributionLines(found, flags.top).join("\n")}\n`);
  } finally {
    open.close();
  }
}

/** `#301` → 301; a text otherwise. */
function tokenArgument(text: string): number | string {
  const id = /^#(\d{1,7})$/.exec(text)?.[1];
  return id === undefined ? someText(text) : Number(id);
}

/** The logit, a table of layers × heads with the MLPs, and the largest parts. */
function attributionLines(found: Attribution, top: number): readonly string[] {
  const { token, against, logit, position, parts, sum } = found;
  const names = [token, ...(against === undefined ? [] : [against])].map(({ tokenId, text }) =>
    tokenName(tokenId, text),
  );
  const embedding = parts.filter(({ kind }) => kind === "embedding").reduce((total, { value }) => total + value, 0);
  const layers = [...new Set(parts.flatMap(({ layer }) => (layer === undefined ? [] : [layer])))];
  const hasBias = parts.some(({ kind }) => kind === "attention-bias");
  const numHeads = parts.filter(({ layer, kind }) => layer === 0 && kind === "head").length;
  const head = [
    "layer",
    ...Array.from({ length: numHeads }, (_, index) => `head ${index}`),
    ...(hasBias ? ["bias"] : []),
    "MLP",
    "both",
  ];
  const rows = layers.map((layer) => {
    const own = parts.filter((part) => part.layer === layer);
    const total = own.reduce((all, { value }) => all + value, 0);
    return [String(layer), ...own.map(({ value }) => value.toFixed(3)), total.toFixed(3)];
  });
  const largest = [...parts].sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, top);
  return [
    `${names.join(" against ")} at position ${position}: logit ${logit.toFixed(4)}, the parts add up to ${sum.toFixed(4)}`,
    "",
    `embedding ${embedding.toFixed(3)}`,
    ...table(head, rows),
    ...(top === 0
      ? []
      : [
          "",
          ...table(
            ["largest parts", "logit"],
            largest.map((part) => [partName(part), part.value.toFixed(3)]),
          ),
        ]),
  ];
}

function partName({ kind, layer, head }: LogitPart): string {
  if (kind === "embedding") return "embedding";
  const what = { head: `head ${head}`, mlp: "MLP", "attention-bias": "bias of the attention" }[kind];
  return `layer ${layer}, ${what}`;
}

/** The parts as F32 tensors by kind, and what they belong to. */
function partsFile(
  found: Attribution,
  { model, inputs }: { readonly model: Llava; readonly inputs: ModelInputs },
): [readonly TraceTensor[], Record<string, string>] {
  const { answer, parts, position, token, against, logit, scale } = found;
  const { numHiddenLayers, numAttentionHeads } = model.config.text;
  const values = (kind: LogitPart["kind"]) =>
    Float32Array.from(
      parts.filter((part) => part.kind === kind),
      ({ value }) => value,
    );
  const tensor = (name: string, shape: readonly number[], data: Float32Array<ArrayBuffer>): TraceTensor => {
    return { name, dtype: "F32", shape, data };
  };
  const bias = values("attention-bias");
  return [
    [
      tensor("embedding", [], values("embedding")),
      tensor("heads", [numHiddenLayers, numAttentionHeads], values("head")),
      ...(bias.length > 0 ? [tensor("attention_bias", [numHiddenLayers], bias)] : []),
      tensor("mlp", [numHiddenLayers], values("mlp")),
    ],
    {
      ...traceMetadata(model, { inputs, answer }),
      attribution: JSON.stringify({ position, token, against: against ?? null, logit, scale }),
    },
  ];
}
