// A page whose model is downloaded once and read from the browser's storage from then on, without a network.
import { decodeImage, Llava, requestGpuDevice } from "adaptvis";
import { keepForGood, openModelStore } from "adaptvis/store";
import type { ToPage, ToWorker } from "./worker.ts";
import { workerUrl } from "./worker-url.ts";

const picture = document.querySelector<HTMLInputElement>("[name=picture]");
const question = document.querySelector<HTMLInputElement>("[name=question]");
const output = document.querySelector("output");
const store = openModelStore();
const worker = new Worker(workerUrl("worker.js"), { type: "module" });
const send = (message: ToWorker) => worker.postMessage(message);
const address = new URL("tiny-spatial/", location.href).href; // or an id on the hub
show("");

/** Downloads what is missing of the model. @returns its key in the store */
function keep(): Promise<string> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<ToPage>) => {
      if ("key" in data) resolve(data.key);
      else if ("failure" in data) reject(new Error(data.failure));
      else show(`Downloading: ${Math.round((100 * data.loadedBytes) / data.totalBytes)} %`);
    };
    send({ keep: address });
  });
}

async function ask(): Promise<void> {
  const file = picture?.files?.[0];
  if (file === undefined || question === null) throw new Error("Choose a picture first.");
  const kept = (await store.list()).find(({ isComplete }) => isComplete);
  const device = await requestGpuDevice(await navigator.gpu.requestAdapter());
  const model = await Llava.load(store.source(kept?.key ?? (await keep())), { device });
  const answer = await model.ask({ image: await decodeImage(file), question: question.value, method: "adaptvis" });
  show(`${answer.text.trim()} (confidence ${answer.confidence}, factor ${answer.factor})`);
  model.dispose();
}

async function remove(): Promise<void> {
  for (const { key } of await store.list()) await store.remove(key);
  const { usedBytes = 0, isPersistent } = await store.room();
  show(`${usedBytes} bytes are kept here${isPersistent ? ", for good" : ""}.`);
}

const on = (name: string, work: () => Promise<unknown>) =>
  document.querySelector(`[name=${name}]`)?.addEventListener("click", () => work().catch(show));
on("keep", () =>
  keepForGood()
    .then(keep)
    .then(() => show("The model is here.")),
);
on("pause", async () => send("pause"));
on("ask", ask);
on("remove", remove);
question?.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.isComposing) ask().catch(show);
});

function show(message: unknown): void {
  if (output !== null) output.textContent = message instanceof Error ? message.message : String(message);
}
