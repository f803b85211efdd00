// Writes the recorded example; tools/app/record-example.mjs runs it.

import { writeFile } from "node:fs/promises";
import { decodeImage } from "../../src/index.node.ts";
import { openNodeModel } from "./node-model.ts";
import { Playgrounds } from "./playground.ts";
import { exampleText, RECORDED_FILE, recordExample } from "./record-example.ts";

/**
 * Writes the file.
 * @param app the folder that `npm run build:app` makes
 * @returns the two answers
 */
export async function writeExample(app: string): Promise<readonly [greedy: string, adaptvis: string]> {
  const playgrounds = await Playgrounds.start(app);
  try {
    const playground = await playgrounds.open({ isOpening: true });
    const picture = await decodeImage(await playground.download("Download picture (PNG)"));
    const example = await recordExample(await openNodeModel(), picture);
    await writeFile(RECORDED_FILE, exampleText(example));
    return [example.answers.greedy.text, example.answers.adaptvis.text];
  } finally {
    await playgrounds.close();
  }
}
