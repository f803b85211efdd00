// Asks about a picture with Vercel's AI SDK: node ask.mjs PICTURE QUESTION (Node 22 or newer)
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { fileSource, Llava, openNodeAdapter, requestGpuDevice } from "adaptvis";
import { adaptvis } from "adaptvis/ai-sdk";
import { streamText } from "ai";

const [picture, question] = process.argv.slice(2);
if (picture === undefined || question === undefined) throw new Error("usage: node ask.mjs PICTURE QUESTION");

const { adapter } = await openNodeAdapter();
const device = await requestGpuDevice(adapter);
const folder = dirname(fileURLToPath(import.meta.resolve("adaptvis/weights/tiny-spatial/config.json")));
const model = await Llava.load(fileSource(folder), { device });
try {
  const result = streamText({
    model: adaptvis(model),
    messages: [
      {
        role: "user",
        content: [
          { type: "file", mediaType: "image", data: await readFile(picture) },
          { type: "text", text: question },
        ],
      },
    ],
    providerOptions: { adaptvis: { method: "adaptvis" } },
  });
  for await (const text of result.textStream) process.stdout.write(text);
  const { confidence, factor } = (await result.finalStep).providerMetadata.adaptvis;
  console.log(` (confidence ${confidence}, factor ${factor})`);
} finally {
  model.dispose();
  device.destroy();
}
