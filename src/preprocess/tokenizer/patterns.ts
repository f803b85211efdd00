// The patterns of tokenizer.json. Hugging Face's tokenizers runs them with Oniguruma, whose syntax JavaScript's RegExp reads
// otherwise in places ("$", "\s", possessive quantifiers, nested classes), and a stranger's pattern may backtrack exponentially. RE2's
// ports have no lookahead, which nearly every tokenizer needs, and Oniguruma itself as WebAssembly takes 460 KB and a page that
// allows WebAssembly. So the part of its syntax that tokenizers use is matched here, by backtracking in Oniguruma's order, and each
// step is counted: a pattern that backtracks too much ends with an error. All else is refused by name.
//
// Classes such as \p{L} are those of the host's Unicode, which knows some characters that Oniguruma 6.9.8 (Unicode 14) does not.
// Source: Oniguruma's doc/RE; find_iter of the Rust crate onig 6.5.1; tokenizers 0.23.3, src/tokenizer/pattern.rs.

import { isObject, shown } from "../../errors.ts";
import { type Component, refuse, tooMuchWork, type Work } from "./json.ts";

/** Finds the places of a pattern in a text. */
export interface Pattern {
  /** Half-open ranges [start, end) of all matches, in UTF-16 units. @throws CheckpointError when that takes too many steps. */
  find(text: string, work: Work): readonly (readonly [number, number])[];
}

/** Parts of a pattern. */
const MAX_NODES = 1000;
/** Most that a quantifier may count to, and nesting of groups. */
const MAX_COUNT = 1000;
const MAX_DEPTH = 50;

/** Reads the `pattern` of a component, `{ String }` or `{ Regex }`. @throws CheckpointError for a pattern that is not supported. */
export function readPattern(component: Component): Pattern {
  const value = component.value("pattern");
  if (isObject(value) && Object.keys(value).length === 1) {
    const { String: text, Regex: regex } = value;
    const given = text ?? regex;
    if (typeof given === "string" && given !== "" && given.length <= MAX_NODES) {
      return text === undefined ? parsePattern(given, `${component.where}.pattern`) : literalPattern(given);
    }
  }
  const expected = `{ String } or { Regex } with a text of 1 to ${MAX_NODES} characters`;
  throw component.wrong("pattern", expected, value);
}

function literalPattern(wanted: string): Pattern {
  return {
    find(text, work) {
      work.spend(text.length * Math.ceil(wanted.length / 32));
      const found: [number, number][] = [];
      for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + wanted.length)) {
        found.push([at, at + wanted.length]);
      }
      return found;
    },
  };
}

/**
 * A regular expression in Oniguruma's syntax.
 * @param where its path, for messages
 * @throws CheckpointError for syntax that is not supported.
 */
export function parsePattern(source: string, where = "pattern"): Pattern {
  const state: State = { text: "", work: undefined };
  const match = compile(new Parser(source, where).parse(), state);
  const matchAt = (at: number) => match(at, (end) => end);
  return {
    find(text, work) {
      state.text = text;
      state.work = work;
      try {
        return findAll(text, matchAt);
      } catch (error) {
        if (error instanceof RangeError) throw tooMuchWork(); // the stack is full
        throw error;
      }
    },
  };
}

/** As onig's find_iter: no empty match directly after a match. */
function findAll(text: string, matchAt: (at: number) => number): readonly (readonly [number, number])[] {
  const found: [number, number][] = [];
  let from = 0;
  let lastEnd = -1;
  while (from <= text.length) {
    let start = from;
    let end = matchAt(start);
    while (end < 0 && start < text.length) {
      start += widthAt(text, start);
      end = matchAt(start);
    }
    if (end < 0) break;
    if (end === start && lastEnd === end) {
      from += from < text.length ? widthAt(text, from) : 1;
    } else {
      found.push([start, end]);
      from = end;
      lastEnd = end;
    }
  }
  return found;
}

type SetTest = (codePoint: number) => boolean;

type Node =
  | { readonly kind: "set"; readonly test: SetTest; readonly letter?: string }
  | { readonly kind: "sequence"; readonly parts: readonly Node[] }
  | { readonly kind: "choice"; readonly options: readonly Node[] }
  | { readonly kind: "repeat"; readonly body: Node; readonly min: number; readonly max: number; readonly mode: Mode }
  | { readonly kind: "ahead"; readonly body: Node; readonly negative: boolean }
  | { readonly kind: "atomic"; readonly body: Node }
  | { readonly kind: "assertion"; readonly holds: (text: string, at: number) => boolean };

type Mode = "greedy" | "lazy" | "possessive";

/** The text that is being searched. */
interface State {
  text: string;
  work: Work | undefined;
}

/** Matches from a place, then goes on with what follows; gives the end of the whole match, or -1. */
type Matcher = (at: number, next: (at: number) => number) => number;

function compile(node: Node, state: State): Matcher {
  switch (node.kind) {
    case "set": {
      const step = stepper(node.test, state);
      return (at, next) => {
        const end = step(at);
        return end < 0 ? -1 : next(end);
      };
    }
    case "sequence": {
      const parts = node.parts.map((part) => compile(part, state));
      const end: Matcher = (at, next) => next(at);
      return parts.reduceRight<Matcher>((rest, part) => (at, next) => part(at, (then) => rest(then, next)), end);
    }
    case "choice": {
      const options = node.options.map((option) => compile(option, state));
      return (at, next) => {
        for (const option of options) {
          const end = option(at, next);
          if (end >= 0) return end;
        }
        return -1;
      };
    }
    case "ahead": {
      const body = compile(node.body, state);
      return (at, next) => (body(at, (end) => end) >= 0 === node.negative ? -1 : next(at));
    }
    case "atomic": {
      const body = compile(node.body, state);
      return (at, next) => {
        const end = body(at, (then) => then);
        return end < 0 ? -1 : next(end);
      };
    }
    case "assertion":
      return (at, next) => (node.holds(state.text, at) ? next(at) : -1);
    case "repeat":
      return node.body.kind === "set"
        ? repeatedSet(stepper(node.body.test, state), node, state)
        : repeated(compile(node.body, state), node);
  }
}

/** Takes one character of a set: the place after it, or -1. */
function stepper(test: SetTest, state: State): (at: number) => number {
  return (at) => {
    state.work?.spend(1);
    const codePoint = state.text.codePointAt(at);
    if (codePoint === undefined || !test(codePoint)) return -1;
    return at + (codePoint > 0xffff ? 2 : 1);
  };
}

type Repeat = Extract<Node, { readonly kind: "repeat" }>;

function repeatedSet(step: (at: number) => number, { min, max, mode }: Repeat, state: State): Matcher {
  return (start, next) => {
    let count = 0;
    let at = start;
    const most = mode === "lazy" ? min : max;
    for (let end = at; count < most; count++) {
      end = step(at);
      if (end < 0) break;
      at = end;
    }
    if (count < min) return -1;
    if (mode === "possessive") return next(at);
    for (;;) {
      const end = next(at);
      if (end >= 0) return end;
      if (mode === "lazy") {
        const then = count < max ? step(at) : -1;
        if (then < 0) return -1;
        at = then;
        count++;
      } else {
        if (count === min) return -1;
        state.work?.spend(1);
        at -= at >= 2 && isLowSurrogate(state.text.charCodeAt(at - 1)) ? 2 : 1;
        count--;
      }
    }
  };
}

function repeated(body: Matcher, { min, max, mode }: Repeat): Matcher {
  const from = (count: number, at: number, next: (at: number) => number): number => {
    const more = () => (count < max ? body(at, (end) => from(count + 1, end, next)) : -1);
    if (count < min) return more();
    const first = mode === "lazy" ? next(at) : more();
    if (first >= 0) return first;
    return mode === "lazy" ? more() : next(at);
  };
  if (mode !== "possessive") return (at, next) => from(0, at, next);
  return (at, next) => {
    const end = from(0, at, (then) => then);
    return end < 0 ? -1 : next(end);
  };
}

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
class Parser {
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

function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff;
}

function widthAt(text: string, at: number): number {
  return (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
}
