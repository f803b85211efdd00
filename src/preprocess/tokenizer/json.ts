// How the parts of a tokenizer.json are read. The file is a stranger's: what is not on the list of a part is refused by its name,
// because an option that is not known would give other ids than Hugging Face's tokenizers without a word.

import { CheckpointError, InputError, isObject, shown } from "../../errors.ts";

const FILE = "tokenizer.json";

/** Characters of a text that is encoded, before and after every step. */
export const MAX_TEXT_LENGTH = 2 ** 19;
/** Components of one part, such as the normalizers of a sequence. */
const MAX_COMPONENTS = 64;
/** Characters of a pattern, of its replacement and of an added token. */
const MAX_STRING_LENGTH = 1024;

/** A part of tokenizer.json that cannot be used. @param where its path within the file, such as "normalizer.type" */
export function refuse(where: string, problem: string): CheckpointError {
  return new CheckpointError(`${FILE}: ${where} ${problem}`, { file: FILE });
}

/** An object of the file with a `type`, whose options are read one by one. */
export class Component {
  /** Its path within the file. */
  readonly where: string;
  readonly type: string;
  private readonly values: Readonly<Record<string, unknown>>;
  private readonly known = new Set(["type"]);

  /** @throws CheckpointError for what is not an object with a type. */
  constructor(value: unknown, where: string) {
    if (!isObject(value) || typeof value.type !== "string") {
      throw refuse(where, `must be an object with a type, got ${shown(value)}.`);
    }
    this.where = where;
    this.type = value.type;
    this.values = value;
  }

  /** An option's value. */
  value(name: string): unknown {
    this.known.add(name);
    return Object.hasOwn(this.values, name) ? this.values[name] : undefined;
  }

  /** @throws CheckpointError for another type, or for no value and no default. */
  boolean(name: string, missing?: boolean): boolean {
    const value = this.value(name) ?? missing;
    if (typeof value === "boolean") return value;
    throw this.wrong(name, "true or false", value);
  }

  /** @throws CheckpointError for another type, for more than 1,024 characters, or for no value and no default. */
  string(name: string, missing?: string): string {
    const value = this.value(name) ?? missing;
    if (typeof value === "string" && value.length <= MAX_STRING_LENGTH) return value;
    throw this.wrong(name, `a text of at most ${MAX_STRING_LENGTH} characters`, value);
  }

  /** A single character. @throws CheckpointError for anything else. */
  character(name: string): string {
    const value = this.value(name);
    if (typeof value === "string" && [...value].length === 1) return value;
    throw this.wrong(name, "one character", value);
  }

  /** @throws CheckpointError for what is not a whole number of at least 0 and at most `max`. */
  count(name: string, { max, missing }: { readonly max: number; readonly missing?: number }): number {
    const value = this.value(name) ?? missing;
    if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= max) return value;
    throw this.wrong(name, `a whole number from 0 to ${max}`, value);
  }

  /** @throws CheckpointError for what is not on the list, or for no value and no default. */
  choice<const T extends string>(name: string, choices: readonly T[], missing?: T): T {
    const value = this.value(name) ?? missing;
    const chosen = choices.find((choice) => choice === value);
    if (chosen !== undefined) return chosen;
    throw this.wrong(name, choices.join(", "), value);
  }

  /** The components of a sequence. */
  components(name: string): readonly Component[] {
    const values = this.value(name);
    if (!Array.isArray(values)) throw this.wrong(name, "a list of components", values);
    return values.map((value, index) => new Component(value, `${this.where}.${name}[${index}]`));
  }

  /** @throws CheckpointError for an option that has not been read. */
  done(): void {
    for (const [name, value] of Object.entries(this.values)) {
      if (this.known.has(name) || value === null) continue;
      const options = [...this.known].join(", ");
      throw refuse(
        `${this.where}.${name.length > 80 ? "…" : name}`,
        `is not an option of ${this.type} that is supported (${options}): remove it, or use another tokenizer.json.`,
      );
    }
  }

  /** An option whose value cannot be used. */
  wrong(name: string, expected: string, value: unknown): CheckpointError {
    return refuse(`${this.where}.${name}`, `must be ${expected}, got ${shown(value)}.`);
  }
}

/**
 * Reads a part that is a component or a sequence of components.
 * @param part the name of the part; its value may be null
 * @param sequence the name of a sequence's list
 * @param makers what is supported, by type
 * @returns one maker's result per component, in order
 * @throws CheckpointError for a type that is not in `makers`, an option that its maker does not read, or too many components.
 */
export function readComponents<T>(
  value: unknown,
  { part, sequence }: { readonly part: string; readonly sequence: string },
  makers: Readonly<Record<string, (component: Component, index: number) => T>>,
): readonly T[] {
  const made: T[] = [];
  const waiting: Component[] = value === undefined || value === null ? [] : [new Component(value, part)];
  let total = 0;
  for (let component = waiting.shift(); component !== undefined; component = waiting.shift()) {
    if (++total > MAX_COMPONENTS) throw refuse(part, `has more than ${MAX_COMPONENTS} components, the limit.`);
    const make = Object.hasOwn(makers, component.type) ? makers[component.type] : undefined;
    if (component.type === "Sequence") {
      waiting.unshift(...component.components(sequence));
      if (waiting.length > MAX_COMPONENTS) throw refuse(part, `has more than ${MAX_COMPONENTS} components, the limit.`);
    } else if (make !== undefined) {
      made.push(make(component, made.length));
    } else {
      const types = ["Sequence", ...Object.keys(makers)].join(", ");
      throw refuse(`${component.where}.type`, `must be one of ${types}, got ${shown(component.type)}.`);
    }
    component.done();
  }
  return made;
}

/** Counts the work of one encoding or decoding, so that no tokenizer.json makes it endless. */
export class Work {
  private left: number;

  /** @param length characters of the text; published tokenizers take 10 to 20 steps per character */
  constructor(length: number) {
    this.left = 1e6 + 40 * length;
  }

  /** @throws CheckpointError when there were too many steps. */
  spend(steps: number): void {
    this.left -= steps;
    if (this.left < 0) throw tooMuchWork();
  }

  /** @throws CheckpointError when a step of the part `where` makes a text of this length, which is too long. */
  checkLength(length: number, where: string): void {
    this.spend(length);
    if (length <= MAX_TEXT_LENGTH) return;
    throw refuse(where, `makes a text of more than ${MAX_TEXT_LENGTH} characters, the limit: use a shorter text.`);
  }
}

/** The error for a tokenizer.json that takes too many steps for a text. */
export function tooMuchWork(): CheckpointError {
  return refuse("its parts", "take too many steps for this text: use another tokenizer.json, or a shorter text.");
}

/** @throws InputError for a text that is too long to be encoded. */
export function checkTextLength(text: string): void {
  if (text.length <= MAX_TEXT_LENGTH) return;
  throw new InputError(`A text must have at most ${MAX_TEXT_LENGTH} characters, got ${text.length}: shorten it.`);
}
