// The page: it asks the worker and shows what comes back, token by token.
import type { ToPage, ToWorker } from "./messages.ts";

const picture = document.querySelector<HTMLInputElement>("[name=picture]");
const question = document.querySelector<HTMLInputElement>("[name=question]");
const output = document.querySelector("output");
if (picture === null || question === null || output === null)
  throw new Error("index.html has two fields and an output");
output.textContent = "";

const worker = new Worker(workerUrl(), { type: "module" });
const send = (message: ToWorker) => worker.postMessage(message);

/** The worker's address, through a policy where the page demands Trusted Types. */
function workerUrl(): string {
  const { href } = new URL("worker.js", import.meta.url);
  const { trustedTypes }: { trustedTypes?: TrustedTypes } = globalThis as object; // TypeScript's library lacks it
  return trustedTypes?.createPolicy("adaptvis", { createScriptURL: () => href }).createScriptURL(href) ?? href;
}

interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL: () => string }): { createScriptURL(url: string): string };
}

function ask(): void {
  const file = picture?.files?.[0];
  if (file === undefined || question === null || output === null) return;
  output.textContent = "";
  send({ kind: "ask", picture: file, question: question.value });
}

document.querySelector("[name=ask]")?.addEventListener("click", ask);
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.isComposing) ask();
});
document.querySelector("[name=stop]")?.addEventListener("click", () => send({ kind: "stop" }));

worker.addEventListener("message", ({ data }: MessageEvent<ToPage>) => {
  if (data.kind === "token") output.textContent += data.text;
  else if (data.kind === "error") output.textContent = data.message;
  else output.textContent = `${data.text} (confidence ${data.confidence}, factor ${data.factor})`;
});
