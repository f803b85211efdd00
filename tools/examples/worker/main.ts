// The page: it asks the worker and shows what comes back, token by token.
import { WorkerModel } from "adaptvis/worker";
import { workerUrl } from "./worker-url.ts";

const picture = document.querySelector<HTMLInputElement>("[name=picture]");
const question = document.querySelector<HTMLInputElement>("[name=question]");
const output = document.querySelector("output");
show("");

/** The model, loaded once; questions wait for it. */
const worker = new Worker(workerUrl("worker.js"), { type: "module" });
const loading = WorkerModel.load(new URL("tiny-spatial/", location.href).href, { worker });
loading.catch(show);

let stop = new AbortController();
document.querySelector("[name=ask]")?.addEventListener("click", () => ask().catch(show));
document.querySelector("[name=stop]")?.addEventListener("click", () => stop.abort());
question?.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.isComposing) ask().catch(show);
});

async function ask(): Promise<void> {
  stop.abort();
  stop = new AbortController();
  const { signal } = stop;
  const image = picture?.files?.[0]; // the worker decodes it
  if (image === undefined || question === null) throw new Error("Choose a picture first.");
  const model = await loading;
  const stream = model.ask({ image, question: question.value, method: "adaptvis", signal });
  let text = "";
  for await (const token of stream) {
    text += token.text;
    show(text);
  }
  const { confidence, factor } = await stream.answer;
  show(`${text.trim()} (confidence ${confidence}, factor ${factor})`);
}

function show(message: unknown): void {
  if (output === null) return;
  const isStopped = message instanceof Error && message.name === "AbortError";
  output.textContent = isStopped ? "Stopped." : message instanceof Error ? message.message : String(message);
}
