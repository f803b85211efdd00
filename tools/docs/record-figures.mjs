// Records the run of the embedded checkpoint that the site's figures show, as figures/ball-behind-robot.json:
//   npm run -s build && node tools/docs/record-figures.mjs [--out FILE] [--adapter lavapipe]
// test/docs/figures.test.ts records it again and compares.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("../..", import.meta.url));
const { Llava, fileSource, openNodeAdapter, readImageFile, requestGpuDevice } = await import(
  join(root, "dist", "node.js")
);

const PICTURE = "ball_behind_robot.png";
const QUESTION = "Where is the ball in relation to the robot? Answer with left, right, front or behind.";
const OPTIONS = ["Left", "Right", "Front", "Behind"];
const FACTORS = [0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.35, 1.5, 1.75, 2];

const { values } = parseArgs({
  options: {
    out: { type: "string", default: fileURLToPath(new URL("figures/ball-behind-robot.json", import.meta.url)) },
    adapter: { type: "string", default: "auto" },
  },
});

const { adapter } = await openNodeAdapter(values.adapter);
const device = await requestGpuDevice(adapter);
const folder = join(root, "weights", "tiny-spatial");
const model = await Llava.load(fileSource(folder), { device });
const image = await readImageFile(join(folder, "demo", PICTURE));
const { tensors, metadata } = await model.trace(model.prepare({ image, question: QUESTION }), { maxNewTokens: 1 });
const scores = [];
for (const { name, shape, data } of tensors) {
  const layer = /^layers\.(\d+)\.attention_scores$/.exec(name)?.[1];
  if (layer === undefined) continue;
  const [numHeads, numKeys] = shape;
  scores[Number(layer)] = Array.from({ length: numHeads }, (_, head) =>
    Array.from(data.slice(head * numKeys, (head + 1) * numKeys), (score) => Number(score.toFixed(3))),
  );
}
const [picture] = JSON.parse(metadata.pictures);
const probabilities = [];
for (const factor of FACTORS) {
  const answer = await model.ask({
    image,
    question: QUESTION,
    method: "scaling",
    factor,
    maxNewTokens: 1,
    continuations: OPTIONS.map((option) => ` ${option}`),
  });
  probabilities.push(answer.continuations.map(({ logProb }) => Number(Math.exp(logProb).toFixed(4))));
}
model.dispose();
const recorded = {
  madeBy: "tools/docs/record-figures.mjs",
  picture: PICTURE,
  question: QUESTION,
  tokens: JSON.parse(metadata.token_texts).slice(0, scores[0][0].length),
  imageRuns: picture.runs,
  map: picture.map,
  scores,
  options: OPTIONS,
  factors: FACTORS,
  probabilities,
};
writeFileSync(values.out, `${JSON.stringify(recorded)}\n`);
process.exit(0);
