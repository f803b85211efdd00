// Asks about a picture on Deno's own WebGPU: deno run --allow-read --allow-env --allow-ffi ask.ts FOLDER PICTURE QUESTION
// The checkpoint needs --allow-read; sharp, a native library that decodes pictures, the other two.
// FOLDER is a checkpoint in Hugging Face's layout, such as node_modules/adaptvis/weights/tiny-spatial.
import { fileSource, Llava, readImageFile, requestGpuDevice } from "adaptvis";

const [folder, picture, question] = Deno.args;
if (folder === undefined || picture === undefined || question === undefined) {
  throw new Error("usage: deno run -A ask.ts FOLDER PICTURE QUESTION");
}

const adapter = await navigator.gpu.requestAdapter();
if (adapter === null) throw new Error("Deno found no adapter: install a Vulkan driver.");
const device = await requestGpuDevice(adapter);

using model = await Llava.load(fileSource(folder), { device });
const answer = await model.ask({ image: await readImageFile(picture), question, method: "adaptvis" });
console.log(`${answer.text.trim()} (confidence ${answer.confidence}, factor ${answer.factor})`);
