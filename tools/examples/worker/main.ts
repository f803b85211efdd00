// The page: it asks the worker and shows what comes back, token by token.
import type { ToPage, ToWorker } from "./messages.ts";

const form = document.querySelector("form");
const output = document.querySelector("output");
if (form === null || output === null) throw new Error("index.html has a form and an output");

const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
const send = (message: ToWorker) => worker.postMessage(message);

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const fields = new FormData(form);
  const picture = fields.get("picture");
  if (!(picture instanceof File)) return;
  output.textContent = "";
  send({ kind: "ask", picture, question: String(fields.get("question")) });
});
form.querySelector("[name=stop]")?.addEventListener("click", () => send({ kind: "stop" }));

worker.addEventListener("message", ({ data }: MessageEvent<ToPage>) => {
  if (data.kind === "token") output.textContent += data.text;
  else if (data.kind === "error") output.textContent = data.message;
  else output.textContent = `${data.text} (confidence ${data.confidence}, factor ${data.factor})`;
});
