// A page that answers about a picture, which it sends nowhere. The bundler takes from adaptvis only what is imported here.
import { decodeImage, httpSource, Llava, requestGpuDevice } from "adaptvis";

const form = document.querySelector("form");
const output = document.querySelector("output");
if (form === null || output === null) throw new Error("index.html has a form and an output");

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

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask(new FormData(form)).catch(show);
});

async function ask(fields: FormData): Promise<void> {
  const picture = fields.get("picture");
  if (!(picture instanceof File)) return;
  const model = await loading;
  let text = "";
  const answer = await model.ask({
    image: await decodeImage(new Uint8Array(await picture.arrayBuffer()), { name: picture.name }),
    question: String(fields.get("question")),
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
