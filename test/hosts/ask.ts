// One question about one picture, asked in the same words in Node, Chromium and Deno; only the bundle differs.
import type * as adaptvis from "../../src/index.ts";

/** What the hosts are compared by. */
export interface HostAnswer {
  readonly text: string;
  readonly ids: readonly number[];
  readonly factor: number;
  readonly confidence: number;
  /** Log-probabilities of the first token's five most probable ids. */
  readonly logProbs: readonly number[];
}

export const QUESTION = "Where is the mug in relation to the dog? Answer with left, right, on or under.";

/** Side of {@link testPicture}, pixels. */
const SIDE = 160;

/** A picture by formula, so that every host has the same bytes whatever its decoder does. */
export function testPicture(): adaptvis.RgbImage {
  const data = new Uint8Array(SIDE * SIDE * 3);
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const isDisc = (x - 45) ** 2 + (y - 80) ** 2 < 900;
      const isSquare = Math.abs(x - 115) < 25 && Math.abs(y - 80) < 25;
      data.set(isDisc ? [220, 40, 40] : isSquare ? [40, 60, 210] : [x, y, 160], (y * SIDE + x) * 3);
    }
  }
  return { width: SIDE, height: SIDE, data };
}

/** Loads the checkpoint, in another dtype than its own if one is given, and asks, with AdaptVis, for the fixed number of tokens. */
export async function ask(
  host: Pick<typeof adaptvis, "Llava">,
  source: adaptvis.Source | string,
  device: GPUDevice,
  dtype?: adaptvis.WeightDtype,
): Promise<HostAnswer> {
  const model = await host.Llava.load(source, { device, dtype });
  const answer = await model.ask({
    image: testPicture(),
    question: QUESTION,
    method: "adaptvis",
    maxNewTokens: 6,
    ignoreEos: true,
    topLogProbs: 5,
  });
  model.dispose();
  return {
    text: answer.text,
    ids: answer.tokens.map(({ tokenId }) => tokenId),
    factor: answer.factor,
    confidence: answer.confidence,
    logProbs: answer.tokens[0]?.top.map(({ logProb }) => logProb) ?? [],
  };
}

/** Compares a host's answer with Node's: ids equal, log-probabilities within 1e-3. */
export function differences(actual: HostAnswer, expected: HostAnswer): string[] {
  const problems: string[] = [];
  if (actual.ids.join() !== expected.ids.join()) problems.push(`ids ${actual.ids}, expected ${expected.ids}`);
  if (actual.text !== expected.text) problems.push(`text ${actual.text}, expected ${expected.text}`);
  if (actual.factor !== expected.factor) problems.push(`factor ${actual.factor}, expected ${expected.factor}`);
  const error = Math.max(...expected.logProbs.map((value, i) => Math.abs(value - (actual.logProbs[i] ?? Number.NaN))));
  if (!(error < 1e-3)) problems.push(`log-probabilities differ by ${error}`);
  return problems;
}
