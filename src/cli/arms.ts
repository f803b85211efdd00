// Methods on the command line of an evaluation: NAME, or NAME:SETTING=VALUE:…, such as adaptvis:alpha1=0.5:beta=0.4; a module's path in
// place of a name is an intervention of the user's own.
import type { MethodOptions } from "../answer.ts";
import type { PublishedSettings } from "../evaluate/datasets/dataset.ts";
import type { Arm } from "../evaluate/run/samples.ts";
import type { Intervention } from "../interventions/intervention.ts";
import { interventionNamed, type MethodName, type MethodSettings } from "../interventions/registry.ts";
import type { MethodDefaults } from "../settings.ts";
import { asUsage } from "./checks.ts";
import { writtenSetting } from "./flags.ts";
import { loadOwnMethod } from "./own-method.ts";
import { UsageError } from "./session.ts";

/** A method and the settings that were written. */
interface WrittenArm {
  readonly name: string;
  readonly method: Intervention;
  /** Hash of the module that the method comes from; undefined for a registered one. */
  readonly module: string | undefined;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly rmsNormEps: number | undefined;
}

/** Methods of an evaluation without `--method` and `--factors`. */
const DEFAULT_ARMS = ["greedy", "scaling", "adaptvis"];

/**
 * The methods as `--method` writes them: those of `--method`, then ScalingVis with each factor of `--factors`.
 * @throws UsageError for a factor that is given twice.
 */
export function armTexts(flags: {
  readonly method?: readonly string[];
  readonly factors?: readonly number[];
}): readonly string[] {
  const { method = [], factors = [] } = flags;
  if (method.length === 0 && factors.length === 0) return DEFAULT_ARMS;
  const scaled = factors.map((factor) => `scaling:factor=${factor}`);
  const twice = scaled.find((text, index) => scaled.indexOf(text) !== index || method.includes(text));
  if (twice !== undefined) throw new UsageError(`--factors: ${twice} is given twice: give each factor once.`);
  return [...method, ...scaled];
}

/** Parses every `--method`. @throws UsageError for an unknown method or setting, a value that does not fit, or two of one name. */
export async function parseArms(texts: readonly string[]): Promise<readonly WrittenArm[]> {
  const twice = texts.find((text, index) => texts.indexOf(text) !== index);
  if (twice !== undefined) throw new UsageError(`--method ${twice} is given twice: give each once.`);
  const arms: WrittenArm[] = [];
  for (const text of texts) {
    // A module's path may hold colons itself.
    const [, path, rest = ""] = /^(.+?\.[cm]?[jt]s)(?::(.*))?$/.exec(text) ?? [];
    const [name = "", ...settings] =
      path === undefined ? text.split(":") : [path, ...(rest === "" ? [] : rest.split(":"))];
    const own = path === undefined ? undefined : await loadOwnMethod(path);
    const method: Intervention = own?.intervention ?? (await asUsage(() => interventionNamed(name)));
    let rmsNormEps: number | undefined;
    const entries = settings.flatMap((setting) => {
      const [, eps] = /^rmsNormEps=(.+)$/.exec(setting) ?? [];
      if (eps === undefined)
        return [writtenSetting(setting, { where: `--method ${text}`, method, others: ["rmsNormEps"] })];
      rmsNormEps = parseEps(eps, text);
      return [];
    });
    arms.push({ name: text, method, module: own?.hash, settings: Object.fromEntries(entries), rmsNormEps });
  }
  return arms;
}

function parseEps(value: string, arm: string): number {
  const eps = Number(value);
  if (Number.isFinite(eps) && eps > 0) return eps;
  throw new UsageError(`--method ${arm}: rmsNormEps must be a number above 0, such as 1e-6, got ${value}.`);
}

/**
 * The arms with their settings: what was written; what the checkpoint's adaptvis.json says; what the data set's authors published
 * for LLaVA-1.5-7B; the method's own defaults.
 */
export function armsOf(
  written: readonly WrittenArm[],
  { defaults, published }: { readonly defaults: MethodDefaults; readonly published: PublishedSettings | null },
): readonly Arm[] {
  const ofData: Readonly<Partial<Record<MethodName, MethodSettings>>> =
    published === null ? {} : { scaling: { factor: published.factor }, adaptvis: published.adaptvis };
  return written.map(({ name, method, module, settings, rmsNormEps }) => {
    if (module !== undefined) return { name, options: { method, settings }, rmsNormEps, module };
    const registered = method.name as MethodName; // it comes from no module
    const fromData = Object.hasOwn(defaults, registered) ? {} : ofData[registered];
    const options: MethodOptions = { method: registered, ...fromData, ...settings };
    return { name, options, rmsNormEps };
  });
}
