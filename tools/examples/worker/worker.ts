// The model lives here, so that the page never waits for it: WebGPU works in a worker as in a page.
import { AbortError, decodeImage, httpSource, Llava, requestGpuDevice } from "adaptvis";
import type { ToPage, ToWorker } from "./messages.ts";

const loading = load();
let running: AbortController | undefined;

async function load(): Promise<Llava> {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) throw new Error("This browser has no WebGPU in workers.");
  return Llava.load(httpSource(new URL("tiny-spatial/", location.href).href), {
    device: await requestGpuDevice(adapter),
  });
}

addEventListener("message", ({ data }: MessageEvent<ToWorker>) => {
  if (data.kind === "stop") running?.abort();
  else ask(data.picture, data.question).catch(report);
});

async function ask(picture: File, question: string): Promise<void> {
  running?.abort();
  const controller = new AbortController();
  running = controller;
  const model = await loading;
  const answer = await model.ask({
    image: await decodeImage(new Uint8Array(await picture.arrayBuffer()), { name: picture.name }),
    question,
    method: "adaptvis",
    signal: controller.signal,
    onToken: ({ text }) => send({ kind: "token", text }),
  });
  send({ kind: "answer", text: answer.text.trim(), confidence: answer.confidence, factor: answer.factor });
}

function report(error: unknown): void {
  const message = error instanceof AbortError ? "Stopped." : error instanceof Error ? error.message : String(error);
  send({ kind: "error", message });
}

function send(message: ToPage): void {
  postMessage(message);
}
