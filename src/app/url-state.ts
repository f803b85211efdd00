// Scene, question and settings in the address's fragment, for sharing: short, equal for equal states; unreadable parts are
// ignored.
//
//   #scene=wall;mug,260,620,320;dog,720,600,360,f&q=Where+is+…&a=0.5,1.2,0.6&pass=12&B=scaling&B.factor=2&cut=9,10
//
// Lengths are thousandths of the picture's side; `a` is alpha1, alpha2 and beta; `A` and `B` are the compared methods with what is
// written in their fields; `cut` are the marked patches.
import type { AdaptVisSettings } from "../interventions/adaptvis.ts";
import { MAX_FACTOR } from "../interventions/parameters.ts";
import type { MethodForm } from "./draw/method-form.ts";
import { BACKGROUNDS, fitObject, isObjectName, MAX_OBJECTS, type Scene, type SceneObject } from "./scene/scene.ts";

/** The state in an address; each part may be missing. */
export interface SharedState {
  readonly scene?: Scene | undefined;
  readonly question?: string | undefined;
  readonly settings?: AdaptVisSettings | undefined;
  /** Index of the open pass in "What the kernels do". */
  readonly pass?: number | undefined;
  /** The compared methods. */
  readonly A?: MethodForm | undefined;
  readonly B?: MethodForm | undefined;
  /** Marked patches, ascending. */
  readonly cut?: readonly number[] | undefined;
}

/** Maximum length of a free-text question, characters. */
export const MAX_QUESTION_LENGTH = 1000;
const MAX_PASS = 1_000_000;
/** Longest text of a method's field. */
const MAX_FIELD_LENGTH = 2000;
/** Most patches of a picture. */
const MAX_PATCHES = 65_536;

/** The fragment of a state, including #; empty for an empty state. */
export function encodeHash({ scene, question, settings, pass, A, B, cut }: SharedState): string {
  const parts: string[] = [];
  if (scene !== undefined) parts.push(`scene=${[scene.background, ...scene.objects.map(encodeObject)].join(";")}`);
  if (question !== undefined && question !== "") parts.push(`q=${encodeText(question.slice(0, MAX_QUESTION_LENGTH))}`);
  if (settings !== undefined) parts.push(`a=${[settings.alpha1, settings.alpha2, settings.beta].join(",")}`);
  if (pass !== undefined) parts.push(`pass=${pass}`);
  if (A !== undefined) parts.push(...encodeForm("A", A));
  if (B !== undefined) parts.push(...encodeForm("B", B));
  if (cut !== undefined && cut.length > 0) parts.push(`cut=${cut.join(",")}`);
  return parts.length === 0 ? "" : `#${parts.join("&")}`;
}

/** The state in a fragment; invalid parts are ignored. */
export function decodeHash(hash: string): SharedState {
  const values = new URLSearchParams(hash.replace(/^#/, ""));
  const question = values.get("q");
  const state: SharedState = {
    scene: decodeScene(values.get("scene")),
    question: question === null || question === "" ? undefined : question.slice(0, MAX_QUESTION_LENGTH),
    settings: decodeSettings(values.get("a")),
    pass: wholeNumber(values.get("pass"), MAX_PASS),
    A: decodeForm("A", values),
    B: decodeForm("B", values),
    cut: decodeCut(values.get("cut")),
  };
  return Object.fromEntries(Object.entries(state).filter(([, value]) => value !== undefined));
}

function encodeObject({ name, x, y, size, flipped }: SceneObject): string {
  const numbers = [x, y, size].map((share) => Math.round(share * 1000));
  return [name, ...numbers, ...(flipped ? ["f"] : [])].join(",");
}

function decodeScene(text: string | null): Scene | undefined {
  if (text === null) return undefined;
  const [first, ...rest] = text.split(";");
  const background = BACKGROUNDS.find((name) => name === first);
  const objects = rest.map(decodeObject);
  if (background === undefined || objects.length > MAX_OBJECTS) return undefined;
  return objects.every((object) => object !== undefined) ? { background, objects } : undefined;
}

function decodeObject(text: string): SceneObject | undefined {
  const [name = "", x, y, size, flag, ...more] = text.split(",");
  const [left, top, side] = [x, y, size].map((share) => wholeNumber(share, 1000));
  if (!isObjectName(name) || left === undefined || top === undefined || side === undefined) return undefined;
  if ((flag !== undefined && flag !== "f") || more.length > 0) return undefined;
  const object = { name, x: left / 1000, y: top / 1000, size: side / 1000, flipped: flag === "f" };
  return fitObject(object);
}

function decodeSettings(text: string | null): AdaptVisSettings | undefined {
  const parts = text?.split(",") ?? [];
  const numbers = parts.filter((part) => /^\d+(\.\d+)?(e-?\d+)?$/.test(part)).map(Number);
  const [alpha1, alpha2, beta, ...more] = numbers;
  if (numbers.length !== parts.length || alpha1 === undefined || alpha2 === undefined || beta === undefined) {
    return undefined;
  }
  const fits = more.length === 0 && alpha1 <= MAX_FACTOR && alpha2 <= MAX_FACTOR && beta <= 1;
  return fits ? { alpha1, alpha2, beta } : undefined;
}

function encodeForm(side: "A" | "B", { name, texts }: MethodForm): string[] {
  const fields = Object.entries(texts).map(([field, text]) => `${side}.${field}=${encodeText(text)}`);
  return [`${side}=${name}`, ...fields];
}

/** Which methods and fields there are, the page knows when it shows them. */
function decodeForm(side: "A" | "B", values: URLSearchParams): MethodForm | undefined {
  const name = values.get(side);
  if (name === null || !/^[a-z][a-z0-9-]{0,39}$/.test(name)) return undefined;
  const texts = [...values].flatMap(([key, text]) => {
    const [, field] = /^[AB]\.([a-zA-Z][a-zA-Z0-9]{0,39})$/.exec(key) ?? [];
    return field === undefined || !key.startsWith(side) || text.length > MAX_FIELD_LENGTH ? [] : [[field, text]];
  });
  return { name, texts: Object.fromEntries(texts) };
}

function decodeCut(text: string | null): readonly number[] | undefined {
  const cells = text?.split(",").map((cell) => wholeNumber(cell, MAX_PATCHES - 1)) ?? [];
  const known = cells.filter((cell) => cell !== undefined);
  if (known.length === 0 || known.length < cells.length || known.length > MAX_PATCHES) return undefined;
  return [...new Set(known)].sort((a, b) => a - b);
}

function wholeNumber(text: string | null | undefined, most: number): number | undefined {
  if (text === null || text === undefined || !/^\d{1,7}$/.test(text)) return undefined;
  return Number(text) <= most ? Number(text) : undefined;
}

/** Encodes text as forms do, which is short for spaces and readable. */
function encodeText(text: string): string {
  return new URLSearchParams({ q: text.slice(0, MAX_FIELD_LENGTH) }).toString().slice("q=".length);
}
