// What an intervention changes in the passes of an answer: the edited run beside an unedited one that runs the same passes.
import type { Answer, AnswerMaps } from "./answer.ts";
import { editContext } from "./edits.ts";
import { at, InputError } from "./errors.ts";
import { type ExplainOptions, type Explanation, explain } from "./explain.ts";
import { attentionMap, middleLayer } from "./inspect/attention-map.ts";
import type { ExplainedPass } from "./inspect/explained-pass.ts";
import { type EditContext, type Intervention, packedEdit, type ScoreEdit } from "./interventions/intervention.ts";
import type { Llava } from "./llava.ts";
import { imageRuns, type ModelInputs } from "./models/inputs.ts";
import { methodOf } from "./settings.ts";

/** Which row of attention is compared in full. */
export interface EditedRowSelection {
  /** The middle layer unless given. */
  readonly layer?: number | undefined;
  /** 0 unless given. */
  readonly head?: number | undefined;
  /** The key that is followed; the one of a picture whose attention changed most unless given. */
  readonly key?: number | undefined;
}

/** A pass whose output an intervention changed. */
export interface ChangedPass {
  readonly edited: ExplainedPass;
  readonly unedited: ExplainedPass;
}

/** A key of the compared row. */
export interface EditedKey {
  readonly position: number;
  /** Before the softmax: in the unedited pass, and in the edited pass before and after the edit. */
  readonly uneditedScore: number;
  readonly score: number;
  /** Undefined where an edit is of a kind that this does not know. */
  readonly editedScore: number | undefined;
  readonly uneditedProb: number;
  readonly prob: number;
}

/** A number unedited and edited. */
export interface BeforeAfter {
  readonly unedited: number;
  readonly edited: number;
}

/** What becomes of one key's attention: its part of the head's output, and at the end the logits. */
export interface FollowedKey {
  readonly position: number;
  /** [headDim] f32 value of the key in this head. */
  readonly value: Float32Array<ArrayBuffer>;
  /** The largest component of the value: that of the head's output in which the key's part changed most. */
  readonly component: number;
  /** Attention times value in this component, and the head's output there: the sum of that over all keys. */
  readonly part: BeforeAfter;
  readonly headOutput: BeforeAfter;
  /** The component of the row's hidden state behind o_proj that changed most, to which all heads are added. */
  readonly hidden: BeforeAfter & { readonly component: number };
}

/** How much likelier one token is than another, as the difference of their logits. */
export interface LogitDifference extends BeforeAfter {
  /** The first token of the edited answer, and that of the unedited one; where they are equal, the unedited pass's second choice. */
  readonly tokenId: number;
  readonly otherId: number;
}

/** One head's attention of the last prompt row in one layer, unedited and edited. */
export interface EditedRow {
  readonly layer: number;
  readonly head: number;
  /** Of the row in the prompt. */
  readonly position: number;
  /** Over each picture of the prompt; `used` is that of the edited pass. */
  readonly maps: readonly AnswerMaps[];
  /** All that the row sees, in order. */
  readonly keys: readonly EditedKey[];
  /** Undefined where the key is not of a picture and none is given. */
  readonly followed: FollowedKey | undefined;
  /** Undefined where one of the two tokens is not among the most probable of both passes. */
  readonly logits: LogitDifference | undefined;
}

/** An intervention's passes beside the unedited ones. */
export interface EditComparison {
  /** Passes up to the choice of the first token that were compared. */
  readonly numCompared: number;
  /** Those whose output differs. */
  readonly changed: readonly ChangedPass[];
  readonly row: EditedRow;
}

/** The stage after which answers go different ways. */
const LAST_STAGE = "choose token 0";

/**
 * Compares an explained answer with one that runs the same passes, with edits that change nothing and without a contrast.
 * @param of.edited as `explain` returned it, of the same options
 * @throws InputError for a layer or head that does not exist; as `explain`.
 */
export async function compareEdits(
  model: Llava,
  inputs: ModelInputs,
  of: { readonly edited: Explanation; readonly options: ExplainOptions; readonly selection?: EditedRowSelection },
): Promise<EditComparison> {
  const { edited, options, selection = {} } = of;
  const { numHiddenLayers, numAttentionHeads } = model.config.text;
  const { layer = middleLayer(numHiddenLayers), head = 0 } = selection;
  const check = (name: string, value: number, count: number) => {
    if (Number.isInteger(value) && value >= 0 && value < count) return;
    throw new InputError(`${name} must be a whole number from 0 to ${count - 1}, got ${value}.`);
  };
  check("layer", layer, numHiddenLayers);
  check("head", head, numAttentionHeads);
  if (selection.key !== undefined) check("key", selection.key, inputs.inputIds.length);
  const method = methodOf(options.method);
  const { onPass: _, ...quiet } = options;
  const plain = { ...quiet, method: withoutEffect(method) };
  const { passes } = await explain(model, inputs, plain);
  const pairs = pairsOf(edited.passes, passes);
  const changed = pairs.filter((pair) => isChanged(pair));
  const row = await rowOf(model, inputs, { method, options: quiet, plain, layer, head, key: selection.key });
  return { numCompared: pairs.length, changed, row };
}

/** An intervention that runs the same passes and changes nothing. */
function withoutEffect(method: Intervention): Intervention {
  const { contrast: _, ...kept } = method;
  return {
    ...kept,
    edits: (settings, context, readings) => {
      const { scores } = method.edits(settings, context, readings);
      return { scores: scores.map((edit) => ({ ...edit, operation: "multiply", strength: 1 })), factor: 1 };
    },
  };
}

/** Passes up to the first token in pairs; those that only the edited run has, as of a contrast's second stream, have none. */
function pairsOf(edited: readonly ExplainedPass[], unedited: readonly ExplainedPass[]): readonly ChangedPass[] {
  const pairs: ChangedPass[] = [];
  let next = 0;
  for (const pass of unedited) {
    if (pairs.at(-1)?.unedited.stage === LAST_STAGE && pass.stage !== LAST_STAGE) break;
    const isSame = ({ stage, place }: ExplainedPass) => stage === pass.stage && place === pass.place;
    const found = edited.findIndex((other, index) => index >= next && isSame(other));
    if (found < 0) break;
    pairs.push({ edited: at(edited, found), unedited: pass });
    next = found + 1;
  }
  return pairs;
}

/** Whether some number of what a pass wrote differs, its picture included. */
function isChanged({ edited, unedited }: ChangedPass): boolean {
  return edited.outputs.some((output, index) => {
    const other = unedited.outputs[index];
    if (other === undefined) return true;
    const { min, max, mean, rms } = output;
    if (min !== other.min || max !== other.max || mean !== other.mean || rms !== other.rms) return true;
    return output.picture.values.some((value, place) => !Object.is(value, other.picture.values[place]));
  });
}

async function rowOf(
  model: Llava,
  inputs: ModelInputs,
  of: {
    readonly method: Intervention;
    readonly options: ExplainOptions;
    readonly plain: ExplainOptions;
    readonly layer: number;
    readonly head: number;
    readonly key: number | undefined;
  },
): Promise<EditedRow> {
  const { method, options, plain, layer, head } = of;
  const output = { place: `layers.${layer}.self_attn` };
  const hidden = { place: `layers.${layer}.self_attn.o_proj` };
  const scores = ["scores", "probs"].map((part) => ({ place: `layers.${layer}.attention_${part}` }));
  const read = [...scores, output, hidden];
  const topLogProbs = Math.min(NUM_TOP, model.config.text.vocabSize);
  const ask = async ({ values: _, onPass: __, ...asked }: ExplainOptions) =>
    model.answer(inputs, { ...asked, maxNewTokens: 1, attention: false, topLogProbs, read });
  const [after, before] = [await ask(options), await ask(plain)];
  const rows = { edited: rowsOf(after, layer), unedited: rowsOf(before, layer) };
  const numHeads = model.config.text.numAttentionHeads;
  const maps = inputs.images.map((image): AnswerMaps => {
    const selection = { numHeads, selection: { layer, head } };
    return {
      used: attentionMap([rows.edited], image, selection),
      unmodified: attentionMap([rows.unedited], image, selection),
    };
  });
  const context = editContext(inputs, model.config);
  const { scores: edits } = method.edits(after.settings, context, { confidence: after.confidence });
  const position = inputs.inputIds.length - 1;
  const keys = Array.from({ length: position + 1 }, (_, key): EditedKey => {
    const index = head * (position + 1) + key;
    const score = at(rows.edited.scores, index);
    return {
      position: key,
      uneditedScore: at(rows.unedited.scores, index),
      score,
      editedScore: editedScore(score, edits, { context, row: position, key, layer, head }),
      uneditedProb: at(rows.unedited.probs, index),
      prob: at(rows.edited.probs, index),
    };
  });
  const outputs = {
    edited: headOf(rows.edited.output, numHeads, head),
    unedited: headOf(rows.unedited.output, numHeads, head),
  };
  const key = of.key ?? mostChanged(keys, inputs);
  const value = async (position: number) => {
    const columns = keys.map((each) => each.position).filter((each) => each !== position);
    // With all other keys knocked out, the head's output is the value of this one.
    const alone = { method: "knock-out", columns, layers: [layer], heads: [head], rows: "last" } as const;
    const { reads } = await model.answer(inputs, { ...alone, maxNewTokens: 1, read: [output], signal: options.signal });
    return headOf(at(reads, 0).data, numHeads, head);
  };
  const hiddenChange = largestChange(rows.unedited.hidden, rows.edited.hidden);
  const followed =
    key === undefined ? undefined : { ...followedKey(at(keys, key), await value(key), outputs), hidden: hiddenChange };
  return { layer, head, position, maps, keys, followed, logits: logitsOf(before, after) };
}

/** Most probable tokens of both passes that are looked through for those of the other. */
const NUM_TOP = 20;

/** The output of one head, [headDim] of [H · headDim]. */
function headOf(output: Float32Array<ArrayBuffer>, numHeads: number, head: number): Float32Array<ArrayBuffer> {
  const headDim = output.length / numHeads;
  return output.slice(head * headDim, (head + 1) * headDim);
}

/** The position of a picture whose attention changed most; undefined without a picture. */
function mostChanged(keys: readonly EditedKey[], inputs: ModelInputs): number | undefined {
  const runs = imageRuns(inputs);
  const change = ({ prob, uneditedProb }: EditedKey) => Math.abs(prob - uneditedProb);
  const ofImage = keys.filter(({ position }) => runs.some(([start, end]) => position >= start && position < end));
  return [...ofImage].sort((a, b) => change(b) - change(a))[0]?.position;
}

function followedKey(
  { position, prob, uneditedProb }: EditedKey,
  value: Float32Array<ArrayBuffer>,
  outputs: { readonly edited: Float32Array; readonly unedited: Float32Array },
): Omit<FollowedKey, "hidden"> {
  const largest = value.reduce((best, part, index) => (Math.abs(part) > Math.abs(at(value, best)) ? index : best), 0);
  const part = at(value, largest);
  return {
    position,
    value,
    component: largest,
    part: { unedited: uneditedProb * part, edited: prob * part },
    headOutput: { unedited: at(outputs.unedited, largest), edited: at(outputs.edited, largest) },
  };
}

/** The component of two vectors that differs most. */
function largestChange(unedited: Float32Array, edited: Float32Array): FollowedKey["hidden"] {
  const change = (component: number) => Math.abs(at(edited, component) - at(unedited, component));
  const component = edited.reduce((best, _, index) => (change(index) > change(best) ? index : best), 0);
  return { component, unedited: at(unedited, component), edited: at(edited, component) };
}

/** The difference of two logits is that of their log-probabilities. */
function logitsOf(before: Answer, after: Answer): LogitDifference | undefined {
  const [first, second] = [at(before.tokens, 0), at(after.tokens, 0)];
  const other = first.tokenId;
  const tokenId = second.tokenId === other ? first.top[1]?.tokenId : second.tokenId;
  const difference = ({ top }: Answer["tokens"][number]) => {
    const logProb = (id: number | undefined) => top.find((token) => token.tokenId === id)?.logProb ?? Number.NaN;
    return logProb(tokenId) - logProb(other);
  };
  const [unedited, edited] = [difference(first), difference(second)];
  if (tokenId === undefined || Number.isNaN(unedited + edited)) return undefined;
  return { tokenId, otherId: other, unedited, edited };
}

function rowsOf({ reads }: Answer, layer: number) {
  const [scores, probs, output, hidden] = [0, 1, 2, 3].map((index) => at(reads, index).data);
  if (scores === undefined || probs === undefined || output === undefined || hidden === undefined) {
    throw new RangeError("four reads were asked for");
  }
  return { layer, scores, probs, output, hidden };
}

/** A score after edits, as shaders/shared/score-edit.wgsl applies them; undefined for an operation that is not one of these. */
function editedScore(
  score: number,
  edits: readonly ScoreEdit[],
  at: {
    readonly context: EditContext;
    readonly row: number;
    readonly key: number;
    readonly layer: number;
    readonly head: number;
  },
): number | undefined {
  const { context, row, key, layer, head } = at;
  let edited: number | undefined = score;
  for (const edit of edits) {
    const isInside = (runs: readonly (readonly [number, number])[], place: number) =>
      runs.some(([start, end]) => place >= start && place < end);
    if (!isInside([edit.rows], row) || !isInside(edit.columns, key) || edited === undefined) continue;
    const strength = packedEdit(edit, context).strengths[layer * context.numHeads + head] ?? Number.NaN;
    edited = applied(edited, edit.operation, strength);
  }
  return edited;
}

function applied(score: number, operation: string, strength: number): number | undefined {
  switch (operation) {
    case "multiply":
      return score * strength;
    case "add":
      return score + strength;
    case "add-magnitude":
      return score + strength * Math.abs(score);
    case "knock-out":
      return strength === 0 ? score : Number.NEGATIVE_INFINITY;
    default:
      return undefined;
  }
}
