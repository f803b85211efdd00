// This package: its folder and version, the embedded checkpoints, the name of its command, and examples for --help.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { isDeno } from "../gpu/hosts/adapter.deno.ts";

/** The nearest folder above this file that contains a package.json. */
export function packageFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json"))) {
    const above = dirname(folder);
    if (above === folder) throw new Error("adaptvis' own package.json is missing: reinstall the package.");
    folder = above;
  }
  return folder;
}

/**
 * The folder of the library, with the embedded checkpoints: this package in a checkout and in the archive of tools/bundle, else the
 * package that this one depends on.
 */
export function libraryFolder(): string {
  const own = packageFolder();
  if (existsSync(join(own, "weights", "tiny-spatial"))) return own;
  return dirname(createRequire(import.meta.url).resolve("adaptvis/package.json"));
}

/** The bundle that this file is part of; it can be run in a separate process. */
export function commandFile(): string {
  return fileURLToPath(import.meta.url);
}

/** The command as the user started it, for examples to copy: in a checkout an npm script, in Deno the bundle itself. */
export function commandName(): string {
  const program = process.argv[1] ?? "";
  if (isDeno()) {
    const isCheckout = existsSync(join(packageFolder(), "src"));
    return `deno run -A ${isCheckout ? relative(".", program) : "npm:adaptvis-cli"}`;
  }
  return basename(program) === "adaptvis.mjs" ? "npm run -s adaptvis --" : "adaptvis";
}

/** The version in package.json. */
export function packageVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(packageFolder(), "package.json"), "utf8"));
  return manifest instanceof Object && "version" in manifest ? String(manifest.version) : "unknown";
}

/**
 * Checkpoints that come with the package, by the names that `--model` takes: the one that commands ask by default, and the one that
 * shows what AdaptVis does.
 */
export const EMBEDDED_NAMES = ["tiny-spatial", "tiny-habit"] as const;

/** The folder of a checkpoint that comes with this package or with the library; in the archive of tools/bundle there is only one. */
export function embeddedModel(name: (typeof EMBEDDED_NAMES)[number] = "tiny-spatial"): string {
  const own = join(packageFolder(), "weights", name);
  return existsSync(own) ? own : join(libraryFolder(), "weights", name);
}

/** The folder of the checkpoint that comes with the package under that name; undefined for other names and where a path has it. */
export function embeddedNamed(model: string): string | undefined {
  const name = EMBEDDED_NAMES.find((each) => each === model);
  return name === undefined || existsSync(model) ? undefined : embeddedModel(name);
}

/** Files of the package, relative to the current folder, so that examples work as printed. */
export interface ExamplePaths {
  readonly picture: string;
  readonly model: string;
}

/** Help text for commander's `addHelpText`: a list of examples, built when it is printed. */
export function examples(list: (paths: ExamplePaths) => readonly string[]): () => string {
  return () => {
    const model = embeddedModel();
    const paths = { picture: fromHere(examplePicture(model)), model: fromHere(model) };
    return `\nExamples:\n${list(paths)
      .map((line) => `  $ ${commandName()} ${line}`)
      .join("\n")}\n`;
  };
}

/** A picture that comes with a checkpoint, or the name of one that users may have. */
export function examplePicture(model: string): string {
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
