// This package: its folder and version, the embedded checkpoint, how its command is called, and examples for --help.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { isDeno } from "../gpu/hosts/adapter.deno.ts";

/** The nearest folder above this file that holds a package.json. */
export function packageFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json"))) {
    const above = dirname(folder);
    if (above === folder) throw new Error("adaptvis' own package.json is missing: install the package again.");
    folder = above;
  }
  return folder;
}

/** How the command was started, for lines to copy: from a checkout it is an npm script, or in Deno the bundle itself. */
export function commandName(): string {
  const program = process.argv[1] ?? "";
  if (isDeno()) {
    const isCheckout = existsSync(join(packageFolder(), "src"));
    return `deno run -A ${isCheckout ? relative(".", program) : "npm:adaptvis"}`;
  }
  return basename(program) === "adaptvis.mjs" ? "npm run -s adaptvis --" : "adaptvis";
}

/** The version in package.json. */
export function packageVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(packageFolder(), "package.json"), "utf8"));
  return manifest instanceof Object && "version" in manifest ? String(manifest.version) : "unknown";
}

/** Its folder. */
export function embeddedModel(): string {
  return join(packageFolder(), "weights", "tiny-spatial");
}

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
