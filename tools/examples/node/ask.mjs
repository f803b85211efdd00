// Asks about a picture in Node: node ask.mjs PICTURE QUESTION
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { fileSource, Llava, openNodeAdapter, readImageFile, requestGpuDevice } from "adaptvis";

const [picture, question] = process.argv.slice(2);
if (picture === undefined || question === undefined) throw new Error("usage: node ask.mjs PICTURE QUESTION");

// A GPU where there is one, else lavapipe or SwiftShader on the CPU; the device stays yours, to use for other things too.
const { adapter, description } = await openNodeAdapter();
const device = await requestGpuDevice(adapter);
console.error(`on ${description}`);

// The checkpoint that comes with the package; any folder in Hugging Face's layout goes in its place.
const folder = dirname(fileURLToPath(import.meta.resolve("adaptvis/weights/tiny-spatial/config.json")));
const model = await Llava.load(fileSource(folder), { device });
try {
  const answer = await model.ask({ image: await readImageFile(picture), question, method: "adaptvis" });
  console.log(`${answer.text.trim()} (confidence ${answer.confidence}, factor ${answer.factor})`);
} finally {
  model.dispose(); // frees the model's memory; since Node 24 `using model = await Llava.load(…)` does the same
  device.destroy();
}
