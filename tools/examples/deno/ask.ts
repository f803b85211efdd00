// Asks about a picture on Deno's own WebGPU: deno run -A ask.ts FOLDER PICTURE QUESTION
// FOLDER is a checkpoint in Hugging Face's layout, such as node_modules/adaptvis/weights/tiny-spatial.
import { fileSource, Llava, requestGpuDevice } from "adaptvis";
import sharp from "sharp";

const [folder, picture, question] = Deno.args;
if (folder === undefined || picture === undefined || question === undefined) {
  throw new Error("usage: deno run -A ask.ts FOLDER PICTURE QUESTION");
}

const adapter = await navigator.gpu.requestAdapter();
if (adapter === null) throw new Error("Deno found no adapter: install a Vulkan driver.");
const device = await requestGpuDevice(adapter);

// adaptvis takes pixels in Deno; sharp decodes as Pillow does, which models were trained with.
const { data, info } = await sharp(picture, { autoOrient: true })
  .removeAlpha()
  .toColourspace("srgb")
  .raw()
  .toBuffer({ resolveWithObject: true });
const image = { width: info.width, height: info.height, data: new Uint8Array(data) };

using model = await Llava.load(fileSource(folder), { device });
const answer = await model.ask({ image, question, method: "adaptvis" });
console.log(`${answer.text.trim()} (confidence ${answer.confidence}, factor ${answer.factor})`);
