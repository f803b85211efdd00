// A method of the user's own: the one intervention that a JavaScript or TypeScript module exports. What its functions throw becomes one
// sentence that names the file.
import { readFile } from "node:fs/promises";
import * as nodeModule from "node:module";
import { extname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { InputError, isObject, kindOf, oneLine, reasonOf } from "../errors.ts";
import { textHash } from "../evaluate/run/fingerprint.node.ts";
import { isDeno } from "../gpu/hosts/adapter.deno.ts";
import type { ConfidenceMeasure, Contrast, Intervention } from "../interventions/intervention.ts";
import { ownIntervention } from "../interventions/own-intervention.ts";
import { INTERVENTIONS } from "../interventions/registry.ts";
import { asUsage } from "./checks.ts";
import { libraryFolder } from "./package-files.ts";
import { UsageError } from "./session.ts";

/** An intervention out of a file. */
export interface OwnMethod {
  readonly intervention: Intervention;
  /** SHA-256 of the file, in hexadecimal; modules that it imports do not count. */
  readonly hash: string;
}

/** Endings of modules that are interventions. */
const MODULE = /\.[cm]?[jt]s$/;

/**
 * Loads the intervention that a module exports, under any name.
 * @throws UsageError for a file that cannot be read or run, exports no intervention or several, or one with a part that does not fit.
 */
export async function loadOwnMethod(path: string): Promise<OwnMethod> {
  if (!MODULE.test(path)) throw new UsageError(`${path} is not a module: give a file that ends in .ts, .js or .mjs.`);
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw new UsageError(`${path} cannot be read (${oneLine(reasonOf(cause))}).`, { cause });
  });
  if (extname(path).endsWith("ts") && !loadsTypeScript()) {
    throw new UsageError(
      `${path} is TypeScript, which Node ${process.versions.node} does not load: use Node 22.18 or newer or Deno, or give JavaScript.`,
    );
  }
  resolveOwnName();
  const exported: unknown = await import(pathToFileURL(path).href).catch((cause: unknown) => {
    throw new UsageError(`${path} cannot be loaded (${oneLine(reasonOf(cause))}).`, { cause });
  });
  const found = [...new Set(isObject(exported) ? Object.values(exported) : [])].filter(isIntervention);
  const [given, ...others] = found;
  if (given === undefined) {
    throw new UsageError(
      `${path} exports no intervention: export an object with name, parameters and edits, as defineIntervention returns it.`,
    );
  }
  if (others.length > 0) {
    throw new UsageError(
      `${path} exports ${found.length} interventions (${found.map(nameOf).sort().join(", ")}): export one.`,
    );
  }
  if (INTERVENTIONS.some(({ name }) => name === given.name)) {
    throw new UsageError(`${path}: ${given.name} is the name of a method of adaptvis: give the intervention another.`);
  }
  const intervention = await asUsage(() => prefixed(path, () => ownIntervention(guarded(path, given))));
  return { intervention, hash: textHash(text) };
}

function isIntervention(value: unknown): value is Intervention {
  return isObject(value) && typeof value.edits === "function"; // the rest is checked by ownIntervention
}

function nameOf({ name }: Intervention): string {
  return typeof name === "string" ? name : kindOf(name);
}

/** Node from 22.18 on, Deno and Bun. */
function loadsTypeScript(): boolean {
  const features: { readonly typescript?: unknown } = process.features;
  return isDeno() || "bun" in process.versions || Boolean(features.typescript);
}

let isNameResolved = false;

/**
 * Lets modules outside of a project that has adaptvis installed import it by its name: from this package. Deno and Bun resolve names
 * by their own rules.
 */
function resolveOwnName(): void {
  if (isNameResolved || isDeno() || "bun" in process.versions) return;
  isNameResolved = true;
  const own = pathToFileURL(join(libraryFolder(), "dist", "node.js")).href;
  if (typeof nodeModule.registerHooks === "function") {
    nodeModule.registerHooks({
      resolve(specifier, context, next) {
        try {
          return next(specifier, context);
        } catch (error) {
          if (specifier !== "adaptvis") throw error;
          return { url: own, format: "module", shortCircuit: true };
        }
      },
    });
    return;
  }
  // Before Node 22.15, where hooks run in a thread and have to be a module.
  const hooks = `let own;
export function initialize(url) { own = url; }
export async function resolve(specifier, context, next) {
  try {
    return await next(specifier, context);
  } catch (error) {
    if (specifier !== "adaptvis") throw error;
    return { url: own, format: "module", shortCircuit: true };
  }
}`;
  nodeModule.register(`data:text/javascript,${encodeURIComponent(hooks)}`, { data: own });
}

/** An intervention whose functions throw sentences. */
function guarded(path: string, given: Intervention): Intervention {
  const { reads, contrast } = given;
  const { name, title, summary, source, parameters } = given;
  const own = { name, title, summary, source, parameters };
  const edits: Intervention["edits"] = (...args) => prefixed(path, () => given.edits(...args), "edits");
  const guardedReads: Intervention["reads"] = (settings) => {
    return prefixed(path, () => given.reads?.(settings), "reads") as ConfidenceMeasure; // checked by ownIntervention
  };
  const contrasts: Intervention["contrast"] = (...args) =>
    prefixed(path, () => guardedContrast(path, given.contrast?.(...args)), "contrast");
  // What is no function is refused by ownIntervention.
  return {
    ...own,
    edits,
    ...(reads !== undefined && { reads: typeof reads === "function" ? guardedReads : reads }),
    ...(contrast !== undefined && { contrast: typeof contrast === "function" ? contrasts : contrast }),
  };
}

function guardedContrast(path: string, contrast: Contrast | undefined): Contrast | undefined {
  if (contrast === undefined || typeof contrast.combine !== "function") return contrast; // refused by ownIntervention
  const guard =
    <Args extends readonly unknown[]>(combine: (...args: Args) => void) =>
    (...args: Args): void =>
      prefixed(path, () => combine(...args), "combine");
  return contrast.against === "early-layers"
    ? { ...contrast, combine: guard(contrast.combine.bind(contrast)) }
    : { ...contrast, combine: guard(contrast.combine.bind(contrast)) };
}

/** Runs a part of a module. @param name of the function that runs, for what is not an error of the engine's */
function prefixed<T>(path: string, run: () => T, name?: string): T {
  try {
    return run();
  } catch (cause) {
    const isOurs = cause instanceof Error && cause.name === "InputError"; // of whichever copy of the engine the module imports
    const reason = isOurs || name === undefined ? reasonOf(cause) : `its ${name} failed (${oneLine(reasonOf(cause))}).`;
    throw new InputError(`${path}: ${reason}`, { cause });
  }
}
