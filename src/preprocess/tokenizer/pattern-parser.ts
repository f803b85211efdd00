// Parses the part of Oniguruma's syntax that tokenizers use; all else is refused by name.
//
// Classes such as \p{L} are those of the host's Unicode, which knows some characters that Oniguruma 6.9.8 (Unicode 14) does not.
// Source: Oniguruma's doc/RE.

import { shown } from "../../errors.ts";
import { isLowSurrogate } from "./code-points.ts";
import { refuse } from "./json.ts";
import type { Mode, Node, SetTest } from "./pattern-matcher.ts";

/** The most parts that a pattern may have. */
export const MAX_NODES = 1000;
/** Most that a quantifier may count to, and nesting of groups. */
const MAX_COUNT = 1000;
const MAX_DEPTH = 50;

/** General categories and scripts whose names mean the same here and in Oniguruma. */
const CATEGORIES = new Set(
  "L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp Cc Cf".split(" "),
);
const SCRIPTS = new Set(
  "Han Hiragana Katakana Hangul Latin Cyrillic Greek Arabic Thai Hebrew Devanagari Bopomofo".split(" "),
);
const POSIX = new Map([
  ["alpha", "\\p{Alphabetic}"],
  ["alnum", "\\p{Alphabetic}\\p{Nd}"],
  ["digit", "\\p{Nd}"],
  ["space", "\\p{White_Space}"],
]);
const SPACE = "\\p{White_Space}";
const DIGIT = "\\p{Nd}";
const WORD = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
/** Also \w, but only outside of classes. */
const WORD_OUTSIDE = `${WORD}\\u00b2\\u00b3\\u00b9\\u00bc-\\u00be`;
const ESCAPES = new Map(Object.entries({ n: 10, t: 9, r: 13, f: 12, v: 11, a: 7, e: 27 }));
/** Pairs of letters that Oniguruma, ignoring case, also finds as one character, such as "ß". */
const FOLDED_PAIR = /^(ss|st|ff|fi|fl)$/i;

const properties = new Map<string, SetTest>();

/** Whether a character is in a class of RegExp; remembered for the first 65,536. */
export function classTest(content: string): SetTest {
  let test = properties.get(content);
  if (test === undefined) {
    const expression = new RegExp(`^[${content}]$`, "u");
    const known = new Uint8Array(0x10000);
    test = (codePoint) => {
      if (codePoint > 0xffff) return expression.test(String.fromCodePoint(codePoint));
      const before = known[codePoint];
      if (before !== 0) return before === 1;
      const isIn = expression.test(String.fromCodePoint(codePoint));
      known[codePoint] = isIn ? 1 : 2;
      return isIn;
    };
    properties.set(content, test);
  }
  return test;
}

/** Parses Oniguruma's syntax as far as it is supported. */
/** Reads Oniguruma's syntax, as far as it is supported. */
export class Parser {
  private readonly characters: readonly string[];
  private readonly where: string;
  private readonly source: string;
  private at = 0;
  private depth = 0;

  constructor(source: string, where: string) {
    this.characters = [...source];
    this.source = source;
    this.where = where;
  }

  parse(): Node {
    const node = this.choice(false);
    if (this.at < this.characters.length) throw this.refuse(`has ${this.peek()} without a group`);
    return node;
  }

  private peek(offset = 0): string {
    return this.characters[this.at + offset] ?? "";
  }

  private take(text: string): boolean {
    const isThere = [...text].every((character, index) => this.peek(index) === character);
    if (isThere) this.at += [...text].length;
    return isThere;
  }

  private refuse(problem: string) {
    return refuse(this.where, `${shown(this.source)} ${problem}, which is not supported: use another tokenizer.json.`);
  }

  private choice(ignoreCase: boolean): Node {
    if (++this.depth > MAX_DEPTH) throw this.refuse(`has more than ${MAX_DEPTH} groups within each other`);
    const options = [this.sequence(ignoreCase)];
    while (this.take("|")) options.push(this.sequence(ignoreCase));
    this.depth--;
    const [only] = options;
    return options.length === 1 && only !== undefined ? only : { kind: "choice", options };
  }

  private sequence(ignoreCase: boolean): Node {
    const parts: Node[] = [];
    while (this.at < this.characters.length && this.peek() !== "|" && this.peek() !== ")") {
      const part = this.quantified(this.atom(ignoreCase));
      const before = parts.at(-1);
      if (ignoreCase && FOLDED_PAIR.test(letterOf(before) + letterOf(part))) {
        throw this.refuse("ignores the case of letters that have a joined form");
      }
      parts.push(part);
    }
    const [only] = parts;
    return parts.length === 1 && only !== undefined ? only : { kind: "sequence", parts };
  }

  private quantified(atom: Node): Node {
    let node = atom;
    const quantifier = this.quantifier();
    if (quantifier === undefined) return node;
    if (atom.kind === "ahead" || atom.kind === "assertion") throw this.refuse("repeats an assertion");
    const { min, max, isBraced } = quantifier;
    if (max > 1 && canBeEmpty(atom)) throw this.refuse("repeats a group that can be empty");
    let mode: Mode = "greedy";
    if (this.take("?")) {
      if (isBraced && min === max) throw this.refuse("has {n}?");
      mode = "lazy";
    } else if (!isBraced && this.take("+")) {
      mode = "possessive";
    }
    node = { kind: "repeat", body: node, min, max, mode };
    if (isBraced && this.take("+"))
      node = { kind: "repeat", body: node, min: 1, max: Number.POSITIVE_INFINITY, mode: "greedy" };
    if (isBraced && node.kind === "repeat" && node.body.kind === "repeat" && node.body.min === 0) {
      throw this.refuse("repeats a group that can be empty");
    }
    if (this.quantifier() !== undefined) throw this.refuse("has a quantifier after another");
    return node;
  }

  private quantifier(): { readonly min: number; readonly max: number; readonly isBraced: boolean } | undefined {
    const isBraced = false;
    if (this.take("*")) return { min: 0, max: Number.POSITIVE_INFINITY, isBraced };
    if (this.take("+")) return { min: 1, max: Number.POSITIVE_INFINITY, isBraced };
    if (this.take("?")) return { min: 0, max: 1, isBraced };
    if (this.peek() !== "{") return undefined;
    const rest = this.characters.slice(this.at, this.at + 16).join("");
    const [whole, low = "", comma, high = ""] = /^\{(\d*)(,?)(\d*)\}/.exec(rest) ?? [];
    if (whole === undefined || (low === "" && high === "")) throw this.refuse("has { without a count");
    this.at += whole.length;
    const min = Number(low);
    const max = comma === "" ? min : high === "" ? Number.POSITIVE_INFINITY : Number(high);
    if (min > max || min > MAX_COUNT || (max > MAX_COUNT && max !== Number.POSITIVE_INFINITY)) {
      throw this.refuse(`has ${whole}`);
    }
    return { min, max, isBraced: true };
  }

  private atom(ignoreCase: boolean): Node {
    const character = this.peek();
    if (character === "(") return this.group(ignoreCase);
    if (character === "[") {
      this.at++;
      return { kind: "set", test: this.characterClass(ignoreCase) };
    }
    if (character === "\\") return this.escape(ignoreCase);
    this.at++;
    if (character === ".") return { kind: "set", test: (codePoint) => codePoint !== 10 };
    if (character === "^") return { kind: "assertion", holds: isLineStart };
    if (character === "$") return { kind: "assertion", holds: isLineEnd };
    if ("*+?{}]".includes(character)) throw this.refuse(`has ${character} where a character is expected`);
    return this.literal(character, ignoreCase);
  }

  private literal(character: string, ignoreCase: boolean): Node {
    const codePoint = codePointOf(character);
    if (!ignoreCase) return { kind: "set", test: (other) => other === codePoint, letter: character };
    return { kind: "set", test: this.withoutCase((other) => other === codePoint, codePoint), letter: character };
  }

  private withoutCase(test: SetTest, codePoint: number): SetTest {
    if (codePoint > 0x7f) throw this.refuse("ignores the case of other letters than a to z");
    return (other) => variants(other).some(test);
  }

  private group(ignoreCase: boolean): Node {
    this.at++;
    let inner = ignoreCase;
    let wrap = (body: Node): Node => body;
    if (this.take("?")) {
      if (this.take("=")) wrap = (body) => ({ kind: "ahead", body, negative: false });
      else if (this.take("!")) wrap = (body) => ({ kind: "ahead", body, negative: true });
      else if (this.take("<=")) wrap = (body) => this.behind(body, false);
      else if (this.take("<!")) wrap = (body) => this.behind(body, true);
      else if (this.take(">")) wrap = (body) => ({ kind: "atomic", body });
      else if (this.take("i:")) inner = true;
      else if (!this.take(":")) throw this.refuse(`has the group (?${this.peek()}`);
    }
    const body = this.choice(inner);
    if (!this.take(")")) throw this.refuse("has a group without its end");
    const node = wrap(body);
    // A group's letter is not next to what stands outside.
    return node.kind === "set" ? { kind: "set", test: node.test } : node;
  }

  private behind(body: Node, negative: boolean): Node {
    if (body.kind !== "set") throw this.refuse("looks behind for other than one character");
    const { test } = body;
    return {
      kind: "assertion",
      holds: (text, at) => (at > 0 && test(codePointBefore(text, at))) !== negative,
    };
  }

  private escape(ignoreCase: boolean): Node {
    const next = this.peek(1);
    const isWord = classTest(WORD_OUTSIDE);
    if (next === "b" || next === "B") {
      this.at += 2;
      return {
        kind: "assertion",
        holds: (text, at) => {
          const before = at > 0 && isWord(codePointBefore(text, at));
          const after = at < text.length && isWord(text.codePointAt(at) ?? 0);
          return (before !== after) === (next === "b");
        },
      };
    }
    if (next === "A") {
      this.at += 2;
      return { kind: "assertion", holds: (_, at) => at === 0 };
    }
    if (next === "z") {
      this.at += 2;
      return { kind: "assertion", holds: (text, at) => at === text.length };
    }
    const escaped = this.escapedSet(WORD_OUTSIDE);
    if (typeof escaped === "number") return this.literal(String.fromCodePoint(escaped), ignoreCase);
    if (ignoreCase) throw this.refuse("ignores the case of a class");
    return { kind: "set", test: escaped };
  }

  /** What a backslash begins, inside and outside of a class: a character or a set. */
  private escapedSet(word: string): number | SetTest {
    this.at++;
    const character = this.peek();
    this.at++;
    if (character === "s") return classTest(SPACE);
    if (character === "S") return not(classTest(SPACE));
    if (character === "d") return classTest(DIGIT);
    if (character === "D") return not(classTest(DIGIT));
    if (character === "h") return classTest("0-9A-Fa-f");
    if (character === "w") return classTest(word);
    if (character === "W") return not(classTest(word));
    if (character === "p" || character === "P") return this.property(character === "P");
    if (character === "x" || character === "u") return this.hexadecimal(character);
    const control = ESCAPES.get(character);
    if (control !== undefined) return control;
    if (character === "" || /[\p{L}\p{N}]/u.test(character)) throw this.refuse(`has \\${character}`);
    return codePointOf(character);
  }

  private property(isNegative: boolean): SetTest {
    const rest = this.characters.slice(this.at, this.at + 32).join("");
    const [whole, name = ""] = /^\{(\w+)\}/.exec(rest) ?? [];
    const content = CATEGORIES.has(name) ? `\\p{${name}}` : SCRIPTS.has(name) ? `\\p{Script=${name}}` : undefined;
    if (whole === undefined || content === undefined) throw this.refuse(`has the property ${shown(name)}`);
    this.at += whole.length;
    return isNegative ? not(classTest(content)) : classTest(content);
  }

  private hexadecimal(kind: "x" | "u"): number {
    const rest = this.characters.slice(this.at, this.at + 10).join("");
    const form = kind === "x" ? /^(?:\{([0-9A-Fa-f]{1,6})\}|([0-7][0-9A-Fa-f]))/ : /^()([0-9A-Fa-f]{4})/;
    const [whole = "", braced, plain] = form.exec(rest) ?? [];
    const codePoint = Number.parseInt(braced || plain || "", 16);
    if (!(codePoint <= 0x10ffff) || (codePoint >= 0xd800 && codePoint <= 0xdfff)) throw this.refuse(`has \\${kind}`);
    this.at += whole.length;
    return codePoint;
  }

  private characterClass(ignoreCase: boolean): SetTest {
    if (++this.depth > MAX_DEPTH) throw this.refuse(`has more than ${MAX_DEPTH} groups within each other`);
    const isNegative = this.take("^");
    if (isNegative && ignoreCase) throw this.refuse("ignores the case of a class");
    const tests: SetTest[] = [];
    if (this.peek() === "]") throw this.refuse("has an empty class");
    while (!this.take("]")) {
      if (this.at >= this.characters.length) throw this.refuse("has a class without its end");
      tests.push(this.classItem(ignoreCase));
    }
    this.depth--;
    const test: SetTest = (codePoint) => tests.some((item) => item(codePoint));
    return isNegative ? not(test) : test;
  }

  private classItem(ignoreCase: boolean): SetTest {
    if (this.peek() === "&" && this.peek(1) === "&") throw this.refuse("has a class with &&");
    if (this.peek() === "[") {
      if (ignoreCase) throw this.refuse("ignores the case of a class");
      if (this.peek(1) === ":") return this.posix();
      this.at++;
      return this.characterClass(ignoreCase);
    }
    const first = this.classMember();
    const isRange = this.peek() === "-" && this.peek(1) !== "]";
    if (typeof first !== "number") {
      if (isRange || ignoreCase) throw this.refuse("has a class with a range or case of a set");
      return first;
    }
    if (!isRange) {
      const test: SetTest = (codePoint) => codePoint === first;
      return ignoreCase ? this.withoutCase(test, first) : test;
    }
    this.at++;
    if (this.peek() === "[") throw this.refuse("has a class with a range to a class");
    const last = this.classMember();
    if (typeof last !== "number" || last < first || first === 0x2d) throw this.refuse("has a class with such a range");
    const test: SetTest = (codePoint) => codePoint >= first && codePoint <= last;
    return ignoreCase ? this.withoutCase(test, last) : test;
  }

  private classMember(): number | SetTest {
    const character = this.peek();
    if (character === "\\") {
      if (/[bBAzZR]/.test(this.peek(1))) throw this.refuse(`has \\${this.peek(1)} in a class`);
      return this.escapedSet(WORD);
    }
    this.at++;
    return codePointOf(character);
  }

  private posix(): SetTest {
    const rest = this.characters.slice(this.at, this.at + 16).join("");
    const [whole = "", name = ""] = /^\[:(\w+):\]/.exec(rest) ?? [];
    const content = POSIX.get(name);
    if (content === undefined) throw this.refuse(`has the class ${shown(rest)}`);
    this.at += whole.length;
    return classTest(content);
  }
}

function not(test: SetTest): SetTest {
  return (codePoint) => !test(codePoint);
}

function letterOf(node: Node | undefined): string {
  return node?.kind === "set" ? (node.letter ?? "") : "";
}

function canBeEmpty(node: Node): boolean {
  if (node.kind === "set") return false;
  if (node.kind === "sequence") return node.parts.every(canBeEmpty);
  if (node.kind === "choice") return node.options.some(canBeEmpty);
  if (node.kind === "repeat") return node.min === 0 || canBeEmpty(node.body);
  return node.kind === "atomic" ? canBeEmpty(node.body) : true;
}

/** Characters that are the same without case: those of a to z, and the two others that fold to one of these. */
function variants(codePoint: number): readonly number[] {
  if (codePoint === 0x17f) return [codePoint, 0x53, 0x73];
  if (codePoint === 0x212a) return [codePoint, 0x4b, 0x6b];
  const isLetter = (codePoint >= 0x41 && codePoint <= 0x5a) || (codePoint >= 0x61 && codePoint <= 0x7a);
  return isLetter ? [codePoint, codePoint ^ 0x20] : [codePoint];
}

function isLineStart(text: string, at: number): boolean {
  return at === 0 || (at < text.length && text.charCodeAt(at - 1) === 10);
}

function isLineEnd(text: string, at: number): boolean {
  return at === text.length || text.charCodeAt(at) === 10;
}

function codePointOf(character: string): number {
  return character.codePointAt(0) ?? 0;
}

function codePointBefore(text: string, at: number): number {
  const isPair = at >= 2 && isLowSurrogate(text.charCodeAt(at - 1));
  return text.codePointAt(isPair ? at - 2 : at - 1) ?? 0;
}
