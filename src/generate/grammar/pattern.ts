// Regular expressions of JSON schemas (`pattern`) as grammars of the strings' JSON: what a pattern matches is written without escapes,
// but for the quotation mark, the backslash and control characters that it names itself.
import { InputError } from "../../errors.ts";
import { type CharacterRange, characters, choice, type Expression, literal, repeat, sequence } from "./grammar.ts";

/** Characters that a JSON string may hold as they are. */
export const PLAIN_CHARACTERS: readonly CharacterRange[] = [
  [0x20, 0x21],
  [0x23, 0x5b],
  [0x5d, 0xd7ff],
  [0xe000, 0x10ffff],
];

const DIGITS: readonly CharacterRange[] = [[0x30, 0x39]];
const WORD: readonly CharacterRange[] = [...DIGITS, [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]];
const SPACE: readonly CharacterRange[] = [
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
];
const SETS: Readonly<Record<string, readonly CharacterRange[]>> = { d: DIGITS, w: WORD, s: SPACE };
const CONTROLS: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, f: 12, v: 11, 0: 0 };

/** Characters of a pattern, and the largest number in its braces. */
const MAX_LENGTH = 500;
const MAX_COUNT = 1000;

/**
 * The strings that a pattern matches, without their quotation marks.
 * @param where what has the pattern, for messages
 * @param rest any characters, for the sides of a pattern that are not anchored
 * @throws InputError for what is not supported: looking around, references, word boundaries, properties of characters.
 */
export function patternExpression(pattern: string, where: string, rest: Expression): Expression {
  return new PatternReader(pattern, where, rest).read();
}

class PatternReader {
  private readonly characters: readonly string[];
  private readonly where: string;
  private readonly rest: Expression;
  private at = 0;
  private depth = 0;

  constructor(pattern: string, where: string, rest: Expression) {
    this.characters = [...pattern];
    this.where = where;
    this.rest = rest;
    if (this.characters.length > MAX_LENGTH) throw this.wrong(`longer than ${MAX_LENGTH} characters`);
    try {
      new RegExp(pattern, "u");
    } catch {
      throw this.wrong("not a regular expression");
    }
  }

  read(): Expression {
    const expression = this.alternatives();
    if (this.at < this.characters.length) throw this.wrong("not a regular expression");
    return expression;
  }

  /** Alternatives up to the end or to a closing parenthesis; those of the pattern itself may be anchored. */
  private alternatives(): Expression {
    const isOutermost = this.depth === 0;
    const parts: Expression[] = [];
    do {
      const isFromStart = isOutermost && this.skip("^");
      const items: Expression[] = [];
      let isToEnd = false;
      while (this.at < this.characters.length && this.next !== "|" && this.next !== ")") {
        if (isOutermost && this.next === "$" && (this.peek(1) === "|" || this.peek(1) === undefined)) {
          this.at++;
          isToEnd = true;
        } else items.push(this.repetition());
      }
      const before = !isOutermost || isFromStart ? [] : [this.rest];
      const after = !isOutermost || isToEnd ? [] : [this.rest];
      parts.push(sequence(...before, ...items, ...after));
    } while (this.skip("|"));
    return choice(parts);
  }

  private repetition(): Expression {
    const part = this.atom();
    const bounds = this.bounds();
    if (bounds === undefined) return part;
    this.skip("?"); // lazy or not, the same strings match
    return repeat(part, bounds.least, bounds.most);
  }

  private bounds(): { readonly least: number; readonly most: number | undefined } | undefined {
    if (this.skip("*")) return { least: 0, most: undefined };
    if (this.skip("+")) return { least: 1, most: undefined };
    if (this.skip("?")) return { least: 0, most: 1 };
    const rest = this.characters.slice(this.at, this.at + 24).join("");
    const [whole, first = "", comma, second = ""] = /^\{(\d+)(,?)(\d*)\}/.exec(rest) ?? [];
    if (whole === undefined) return undefined;
    this.at += whole.length;
    const most = comma === "" ? Number(first) : second === "" ? undefined : Number(second);
    if (Math.max(Number(first), most ?? 0) > MAX_COUNT) throw this.wrong(`repeating more than ${MAX_COUNT} times`);
    return { least: Number(first), most };
  }

  private atom(): Expression {
    const character = this.take();
    switch (character) {
      case "(":
        return this.group();
      case "[":
        return this.set(this.bracket());
      case ".":
        return this.set(PLAIN_CHARACTERS);
      case "\\":
        return this.escape();
      case "^":
      case "$":
        throw this.wrong("anchored within a part, which is not supported");
      default:
        return this.character(character.codePointAt(0) ?? 0);
    }
  }

  private group(): Expression {
    if (this.next === "?") {
      const start = this.characters.slice(this.at, this.at + 40).join("");
      const [opening] = /^\?(:|<[A-Za-z_$][\w$]*>)/.exec(start) ?? [];
      if (opening === undefined) throw this.wrong("looking ahead or behind, which is not supported");
      this.at += opening.length;
    }
    this.depth++;
    const expression = this.alternatives();
    this.depth--;
    if (!this.skip(")")) throw this.wrong("not a regular expression");
    return expression;
  }

  private escape(): Expression {
    const set = this.escapedSet();
    return set === undefined ? this.character(this.escapedCharacter()) : this.set(set);
  }

  /** The set of \d, \w, \s or their negations; undefined for another escape, which is left. */
  private escapedSet(): readonly CharacterRange[] | undefined {
    const name = this.next ?? "";
    const set = SETS[name.toLowerCase()];
    if (set === undefined) return undefined;
    this.at++;
    return name === name.toLowerCase() ? set : complement(set);
  }

  private escapedCharacter(): number {
    const name = this.take();
    const control = CONTROLS[name];
    if (control !== undefined) return control;
    if (name === "x") return this.hex(2);
    if (name === "u") {
      if (!this.skip("{")) return this.hex(4);
      const end = this.characters.indexOf("}", this.at);
      const code = this.hex(end - this.at);
      this.at++;
      return code;
    }
    if (/[A-Za-z0-9]/.test(name)) throw this.wrong(`using \\${name}, which is not supported`);
    return name.codePointAt(0) ?? 0;
  }

  private hex(length: number): number {
    const code = Number.parseInt(this.characters.slice(this.at, this.at + length).join(""), 16);
    this.at += length;
    return code;
  }

  private bracket(): readonly CharacterRange[] {
    const isNegated = this.skip("^");
    const ranges: CharacterRange[] = [];
    while (!this.skip("]")) {
      const first = this.member();
      if (typeof first !== "number") {
        ranges.push(...first);
        continue;
      }
      if (this.next === "-" && this.peek(1) !== "]") {
        this.at++;
        const last = this.member();
        if (typeof last !== "number") throw this.wrong("not a regular expression");
        ranges.push([first, last]);
      } else ranges.push([first, first]);
    }
    return isNegated ? complement(ranges) : ranges;
  }

  private member(): number | readonly CharacterRange[] {
    const character = this.take();
    if (character !== "\\") return character.codePointAt(0) ?? 0;
    if (this.skip("b")) return 8;
    return this.escapedSet() ?? this.escapedCharacter();
  }

  private set(ranges: readonly CharacterRange[]): Expression {
    const plain = intersection(ranges, PLAIN_CHARACTERS);
    if (plain.length === 0) throw this.wrong("of characters that are not supported");
    return characters(plain);
  }

  private character(codePoint: number): Expression {
    const json = JSON.stringify(String.fromCodePoint(codePoint)).slice(1, -1);
    return literal(json);
  }

  private get next(): string | undefined {
    return this.characters[this.at];
  }

  private peek(offset: number): string | undefined {
    return this.characters[this.at + offset];
  }

  private skip(character: string): boolean {
    if (this.next !== character) return false;
    this.at++;
    return true;
  }

  private take(): string {
    const { next } = this;
    if (next === undefined) throw this.wrong("not a regular expression");
    this.at++;
    return next;
  }

  private wrong(what: string): InputError {
    return new InputError(`jsonSchema: ${this.where}: the pattern is ${what}.`);
  }
}

function complement(ranges: readonly CharacterRange[]): readonly CharacterRange[] {
  const gaps: CharacterRange[] = [];
  let from = 0;
  for (const [first, last] of [...ranges].sort(([a], [b]) => a - b)) {
    if (first > from) gaps.push([from, first - 1]);
    from = Math.max(from, last + 1);
  }
  return [...gaps, [from, 0x10ffff]];
}

function intersection(some: readonly CharacterRange[], others: readonly CharacterRange[]): readonly CharacterRange[] {
  return some.flatMap(([first, last]) =>
    others.flatMap(([from, to]): CharacterRange[] => {
      const range: CharacterRange = [Math.max(first, from), Math.min(last, to)];
      return range[0] <= range[1] ? [range] : [];
    }),
  );
}
