// Grammars of texts in UTF-8: expressions, and the automaton with a stack that reads them byte by byte. Letters: S states.
import { at } from "../../errors.ts";

/** Code points, first and last. */
export type CharacterRange = readonly [first: number, last: number];

/** What a part of a text may be. */
export type Expression =
  | { readonly kind: "bytes"; readonly bytes: readonly number[] }
  | { readonly kind: "set"; readonly ranges: readonly CharacterRange[] }
  | { readonly kind: "sequence" | "choice"; readonly parts: readonly Expression[] }
  | { readonly kind: "repeat"; readonly part: Expression; readonly least: number; readonly most: number | undefined }
  | { readonly kind: "rule"; readonly name: string };

/** A grammar: its rules by name, and the one that a whole text follows. */
export interface Grammar {
  readonly rules: ReadonlyMap<string, Expression>;
  readonly root: string;
}

const encoder = new TextEncoder();

/** This text. */
export function literal(text: string): Expression {
  return { kind: "bytes", bytes: [...encoder.encode(text)] };
}

/** One character of these ranges; surrogates are none. */
export function characters(ranges: readonly CharacterRange[]): Expression {
  return { kind: "set", ranges };
}

/** One part after the other. */
export function sequence(...parts: readonly Expression[]): Expression {
  return { kind: "sequence", parts };
}

/** One of the parts. */
export function choice(parts: readonly Expression[]): Expression {
  return { kind: "choice", parts };
}

/** A part `least` to `most` times; without `most`, any number of times from `least` on. */
export function repeat(part: Expression, least: number, most?: number): Expression {
  return { kind: "repeat", part, least, most };
}

/** A part, or nothing. */
export function optional(part: Expression): Expression {
  return repeat(part, 0, 1);
}

/** What the rule of this name says. */
export function rule(name: string): Expression {
  return { kind: "rule", name };
}

/** A rule whose text can begin with the same rule, so that reading it never comes to a byte; undefined without one. */
export function leftRecursion({ rules }: Grammar): string | undefined {
  const [open, done] = [new Set<string>(), new Set<string>()];
  const visit = (name: string): string | undefined => {
    if (open.has(name)) return name;
    const expression = rules.get(name);
    if (done.has(name) || expression === undefined) return undefined;
    open.add(name);
    for (const next of beginnings(expression).rules) {
      const found = visit(next);
      if (found !== undefined) return found;
    }
    open.delete(name);
    done.add(name);
    return undefined;
  };
  for (const name of rules.keys()) {
    const found = visit(name);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The rules that an expression can begin with, and whether it can be empty; a rule by itself counts as not empty. */
function beginnings(expression: Expression): { readonly rules: readonly string[]; readonly isEmpty: boolean } {
  switch (expression.kind) {
    case "bytes":
      return { rules: [], isEmpty: expression.bytes.length === 0 };
    case "set":
      return { rules: [], isEmpty: false };
    case "rule":
      return { rules: [expression.name], isEmpty: false };
    case "repeat": {
      const part = beginnings(expression.part);
      return { rules: part.rules, isEmpty: part.isEmpty || expression.least === 0 };
    }
    case "choice": {
      const parts = expression.parts.map(beginnings);
      return { rules: parts.flatMap((part) => part.rules), isEmpty: parts.some((part) => part.isEmpty) };
    }
    case "sequence": {
      const rules: string[] = [];
      for (const part of expression.parts) {
        const start = beginnings(part);
        rules.push(...start.rules);
        if (!start.isEmpty) return { rules, isEmpty: false };
      }
      return { rules, isEmpty: true };
    }
  }
}

/** An automaton's state. */
export interface State {
  /** Bytes that lead on. */
  readonly bytes: { readonly first: number; readonly last: number; readonly to: number }[];
  /** States that are entered without a byte. */
  readonly free: number[];
  /** Rules' first states that are read before the text goes on in `back`. */
  readonly calls: { readonly start: number; readonly back: number }[];
}

/** What reads a grammar's texts. */
export interface Automaton {
  /** [S] */
  readonly states: readonly State[];
  readonly start: number;
  /** Ends a rule, and the text where none was called. */
  readonly end: number;
}

/** States of an automaton. */
const MAX_STATES = 150_000;

/**
 * Builds a grammar's automaton.
 * @throws RangeError for a rule that does not exist, or more than 150,000 states.
 */
export function automatonOf({ rules, root }: Grammar): Automaton {
  return new AutomatonBuilder(rules).build(root);
}

class AutomatonBuilder {
  private readonly rules: ReadonlyMap<string, Expression>;
  private readonly states: State[] = [];
  private readonly starts = new Map<string, number>();
  private readonly partStarts = new Map<Expression, number>();
  private readonly waiting: { readonly expression: Expression; readonly start: number }[] = [];
  private readonly end: number;

  constructor(rules: ReadonlyMap<string, Expression>) {
    this.rules = rules;
    this.end = this.add();
  }

  build(root: string): Automaton {
    const start = this.startOf(root);
    for (let next = this.waiting.pop(); next !== undefined; next = this.waiting.pop()) {
      this.connect(next.expression, next.start, this.end);
    }
    return { states: this.states, start, end: this.end };
  }

  private add(): number {
    if (this.states.length >= MAX_STATES) throw new RangeError(`the grammar has more than ${MAX_STATES} states`);
    return this.states.push({ bytes: [], free: [], calls: [] }) - 1;
  }

  private startOf(name: string): number {
    const known = this.starts.get(name);
    if (known !== undefined) return known;
    const expression = this.rules.get(name);
    if (expression === undefined) throw new RangeError(`the grammar has no rule ${name}`);
    const start = this.startOfPart(expression);
    this.starts.set(name, start);
    return start;
  }

  /** The start of an expression's own states, which are shared by everything that repeats it. */
  private startOfPart(expression: Expression): number {
    const known = this.partStarts.get(expression);
    if (known !== undefined) return known;
    const start = this.add();
    this.partStarts.set(expression, start);
    this.waiting.push({ expression, start });
    return start;
  }

  /** Adds what reads an expression between two states. */
  private connect(expression: Expression, from: number, to: number): void {
    switch (expression.kind) {
      case "bytes":
        this.connectRun(
          expression.bytes.map((byte) => [byte, byte] as const),
          from,
          to,
        );
        return;
      case "set":
        for (const run of utf8Runs(expression.ranges)) this.connectRun(run, from, to);
        return;
      case "choice":
        for (const part of expression.parts) this.connect(part, from, to);
        return;
      case "sequence": {
        let state = from;
        for (const [index, part] of expression.parts.entries()) {
          const next = index === expression.parts.length - 1 ? to : this.add();
          this.connect(part, state, next);
          state = next;
        }
        if (expression.parts.length === 0) at(this.states, from).free.push(to);
        return;
      }
      case "repeat":
        this.connectRepeat(expression, from, to);
        return;
      case "rule":
        at(this.states, from).calls.push({ start: this.startOf(expression.name), back: to });
    }
  }

  private connectRun(run: readonly CharacterRange[], from: number, to: number): void {
    let state = from;
    for (const [index, [first, last]] of run.entries()) {
      const next = index === run.length - 1 ? to : this.add();
      at(this.states, state).bytes.push({ first, last, to: next });
      state = next;
    }
    if (run.length === 0) at(this.states, from).free.push(to);
  }

  private connectRepeat(
    { part, least, most }: Expression & { readonly kind: "repeat" },
    from: number,
    to: number,
  ): void {
    const start = this.startOfPart(part);
    let state = from;
    for (let index = 0; index < (most ?? least); index++) {
      if (index >= least) at(this.states, state).free.push(to);
      const next = this.add();
      at(this.states, state).calls.push({ start, back: next });
      state = next;
    }
    if (most === undefined) {
      const loop = this.add();
      at(this.states, state).free.push(loop);
      at(this.states, loop).calls.push({ start, back: loop });
      state = loop;
    }
    at(this.states, state).free.push(to);
  }
}

/** Ends of the code points that take 1, 2, 3 and 4 bytes. */
const LENGTH_ENDS = [0x7f, 0x7ff, 0xffff, 0x10ffff];

/** The byte ranges, one after the other, that together spell the characters of a set. */
export function utf8Runs(ranges: readonly CharacterRange[]): readonly (readonly CharacterRange[])[] {
  const plain = ranges.flatMap(([first, last]): CharacterRange[] => [
    [first, Math.min(last, 0xd7ff)],
    [Math.max(first, 0xe000), last],
  ]);
  return plain.flatMap(([first, last]) =>
    LENGTH_ENDS.flatMap((end, index) => {
      const from = Math.max(first, index === 0 ? 0 : at(LENGTH_ENDS, index - 1) + 1);
      const to = Math.min(last, end);
      return from > to ? [] : runsBetween(encodedPoint(from), encodedPoint(to));
    }),
  );
}

function encodedPoint(codePoint: number): readonly number[] {
  return [...encoder.encode(String.fromCodePoint(codePoint))];
}

/** Runs from one sequence of bytes to another of the same length; bytes behind the first go from 0x80 to 0xbf. */
function runsBetween(from: readonly number[], to: readonly number[]): readonly (readonly CharacterRange[])[] {
  const [first = 0, ...restFrom] = from;
  const [last = 0, ...restTo] = to;
  if (restFrom.length === 0) return [[[first, last]]];
  const least = restFrom.map(() => 0x80);
  const most = restFrom.map(() => 0xbf);
  const after = (lead: CharacterRange, start: readonly number[], end: readonly number[]) =>
    runsBetween(start, end).map((run) => [lead, ...run]);
  if (first === last) return after([first, first], restFrom, restTo);
  const isWholeFrom = restFrom.every((byte) => byte === 0x80);
  const isWholeTo = restTo.every((byte) => byte === 0xbf);
  const [middleFrom, middleTo] = [isWholeFrom ? first : first + 1, isWholeTo ? last : last - 1];
  return [
    ...(isWholeFrom ? [] : after([first, first], restFrom, most)),
    ...(middleFrom <= middleTo ? after([middleFrom, middleTo], least, most) : []),
    ...(isWholeTo ? [] : after([last, last], least, restTo)),
  ];
}
