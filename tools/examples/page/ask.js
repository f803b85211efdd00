// Where adaptvis is: after `npm install adaptvis` in the folder that is served, or from a CDN, as in
// https://cdn.jsdelivr.net/npm/adaptvis@0.1.0/dist/browser.js. It is one file, with nothing else to fetch.
import { decodeImage, httpSource, Llava, requestGpuDevice } from "./node_modules/adaptvis/dist/browser.js";

const field = (name) => document.querySelector(`[name=${name}]`);
const output = document.querySelector("output");
const show = (message) => {
  output.textContent = message;
};
const fail = (error) => show(error.message);

async function load() {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) throw new Error("This browser has no WebGPU.");
  const device = await requestGpuDevice(adapter);
  // Any URL of a folder in Hugging Face's layout.
  const folder = new URL("node_modules/adaptvis/weights/tiny-spatial/", location.href);
  return Llava.load(httpSource(folder.href), { device });
}

show("");
const loading = load();
loading.catch(fail);

async function ask() {
  const [picture] = field("picture").files;
  if (picture === undefined) throw new Error("Choose a picture first.");
  const model = await loading;
  const answer = await model.ask({
    image: await decodeImage(new Uint8Array(await picture.arrayBuffer()), { name: picture.name }),
    question: field("question").value,
    method: "adaptvis",
  });
  show(`${answer.text.trim()} (confidence ${answer.confidence}, factor ${answer.factor})`);
}

field("ask").addEventListener("click", () => ask().catch(fail));
field("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.isComposing) ask().catch(fail);
});
