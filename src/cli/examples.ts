// Paths for the examples in --help, so that they work as they are written: files that come with the package.
import { existsSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { embeddedModel } from "./embedded-model.ts";
import { commandName } from "./package-folder.ts";

/** Files of the package as seen from the current folder. */
export interface ExamplePaths {
  readonly picture: string;
  readonly model: string;
}

/** commander's text for `addHelpText`: a list of examples that is made when it is asked for. */
export function examples(list: (paths: ExamplePaths) => readonly string[]): () => string {
  return () => {
    const model = embeddedModel();
    const paths = { picture: fromHere(examplePicture(model)), model: fromHere(model) };
    return `\nExamples:\n${list(paths)
      .map((line) => `  $ ${commandName()} ${line}`)
      .join("\n")}\n`;
  };
}

function examplePicture(model: string): string {
  for (const folder of [join(model, "demo"), join(model, "benchmark", "test", "controlled_images")]) {
    const picture =
      existsSync(folder) &&
      readdirSync(folder)
        .sort()
        .find((name) => /\.(jpe?g|png|webp)$/.test(name));
    if (picture) return join(folder, picture);
  }
  return "photo.jpg";
}

function fromHere(path: string): string {
  return path.startsWith("/") ? relative(".", path) || "." : path;
}
