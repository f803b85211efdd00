// Methods on the command line of an evaluation: NAME, or NAME:SETTING=VALUE:…, such as adaptvis:alpha1=0.5:beta=0.4.
import type { AnswerOptions } from "../answer.ts";
import type { PublishedSettings } from "../evaluate/datasets/dataset.ts";
import type { Arm } from "../evaluate/run/samples.ts";
import { interventionNamed, type MethodName, type MethodSettings } from "../interventions/registry.ts";
import type { MethodDefaults } from "../settings.ts";
import { asUsage } from "./checks.ts";
import { parseSetting } from "./flags.ts";
import { UsageError } from "./session.ts";

/** A method and the settings that were written. */
interface WrittenArm {
  readonly name: string;
  readonly method: MethodName;
  readonly settings: Readonly<Record<string, unknown>>;
}

/** Parses every `--method`. @throws UsageError for an unknown method or setting, a value that does not fit, or two of one name. */
export async function parseArms(texts: readonly string[]): Promise<readonly WrittenArm[]> {
  const twice = texts.find((text, index) => texts.indexOf(text) !== index);
  if (twice !== undefined) throw new UsageError(`--method ${twice} is given twice: give each once.`);
  const arms: WrittenArm[] = [];
  for (const text of texts) {
    const [method = "", ...settings] = text.split(":");
    const { name, parameters } = await asUsage(() => interventionNamed(method));
    const entries = settings.map((setting) => {
      const [, key = "", value = ""] = /^(\w+)=(.+)$/.exec(setting) ?? [];
      const parameter = parameters[key];
      if (parameter === undefined) {
        const names = Object.keys(parameters).join(", ") || "none";
        throw new UsageError(
          `--method ${text}: expected SETTING=VALUE with a setting of ${method} (${names}), got ${JSON.stringify(setting)}.`,
        );
      }
      return [key, parseSetting(parameter, value, `--method ${text}: ${key}`)] as const;
    });
    arms.push({ name: text, method: name as MethodName, settings: Object.fromEntries(entries) }); // a registered name
  }
  return arms;
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
  return written.map(({ name, method, settings }) => {
    const fromData = Object.hasOwn(defaults, method) ? {} : ofData[method];
    const options: AnswerOptions = { method, ...fromData, ...settings };
    return { name, options };
  });
}
