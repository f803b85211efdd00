// The registered methods. A new one is a file in this folder and a line here.
import { described, InputError } from "../errors.ts";
import { adaptvis } from "./adaptvis.ts";
import { constantAdd } from "./constant-add.ts";
import { dola } from "./dola.ts";
import { greedy } from "./greedy.ts";
import type { Intervention } from "./intervention.ts";
import { knockOut } from "./knock-out.ts";
import { m3id } from "./m3id.ts";
import { pai } from "./pai.ts";
import type { SettingsOf } from "./parameters.ts";
import { scaling } from "./scaling.ts";
import { temperature } from "./temperature.ts";
import { vaf } from "./vaf.ts";
import { vcd } from "./vcd.ts";
import { visualSinks } from "./visual-sinks.ts";

/** Every registered method, in the order in which help texts list them. */
export const INTERVENTIONS = [
  greedy,
  scaling,
  adaptvis,
  constantAdd,
  temperature,
  pai,
  vaf,
  visualSinks,
  knockOut,
  vcd,
  m3id,
  dola,
] as const;

type Registered = (typeof INTERVENTIONS)[number];

/** The name of a registered method. */
export type MethodName = Registered["name"];

type Intersection<U> = (U extends unknown ? (member: U) => void : never) extends (member: infer I) => void ? I : never;

/** The settings of every registered method, all optional; a setting that the chosen method does not have is an error. */
export type MethodSettings = Partial<
  Intersection<Registered extends infer R ? (R extends Intervention<infer P> ? SettingsOf<P> : never) : never>
>;

/** Names of all settings that registered methods have. */
export const SETTING_NAMES: readonly string[] = [
  ...new Set(INTERVENTIONS.flatMap(({ parameters }) => Object.keys(parameters))),
];

/**
 * The method of a name.
 * @throws InputError when no method has it.
 */
export function interventionNamed(name: string): Intervention {
  const found: Intervention | undefined = INTERVENTIONS.find((intervention) => intervention.name === name);
  if (found !== undefined) return found;
  const names = INTERVENTIONS.map((intervention) => intervention.name);
  throw new InputError(`method must be one of ${names.join(", ")}, got ${described(name)}.`);
}

/** The title of a method, as papers spell it; the name itself of one that is not registered. */
export function titleOf(name: string): string {
  return INTERVENTIONS.find((intervention) => intervention.name === name)?.title ?? name;
}
