// A page that answers about a picture, which it sends nowhere. The bundler takes from adaptvis only what is imported here.
import { decodeImage, httpSource, Llava, requestGpuDevice } from "adaptvis";

const picture = document.querySelector<HTMLInputElement>("[name=picture]");
const question = document.querySelector<HTMLInputElement>("[name=question]");
const output = document.querySelector("output");
show("");

/** The model, loaded once; questions wait for it. */
const loading = load();
loading.catch(show);

async function load(): Promise<Llava> {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) throw new Error("This browser has no WebGPU.");
  const device = await requestGpuDevice(adapter);
  // The folder is read by byte ranges where the server has them.
  return Llava.load(httpSource(new URL("tiny-spatial/", location.href).href), {
    device,
    onProgress: ({ loadedBytes, totalBytes }) => show(`Loading: ${Math.round((100 * loadedBytes) / totalBytes)} %`),
  });
}

document.querySelector("[name=ask]")?.addEventListener("click", () => ask().catch(show));
question?.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.isComposing) ask().catch(show);
});

async function ask(): Promise<void> {
  const file = picture?.files?.[0];
  if (file === undefined || question === null) throw new Error("Choose a picture first.");
  const model = await loading;
  let text = "";
  const answer = await model.ask({
    image: await decodeImage(new Uint8Array(await file.arrayBuffer()), { name: file.name }),
    question: question.value,
    method: "adaptvis",
    onToken: (token) => {
      text += token.text;
      show(text);
    },
  });
  show(`${answer.text.trim()} (confidence ${answer.confidence}, factor ${answer.factor})`);
}

function show(message: unknown): void {
  if (output !== null) output.textContent = message instanceof Error ? message.message : String(message);
}
