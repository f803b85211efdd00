// Matches a parsed pattern by backtracking, in Oniguruma's order, and counts every step.

import { isLowSurrogate } from "./code-points.ts";
import type { Work } from "./json.ts";

/** Whether a character belongs to a set. */
export type SetTest = (codePoint: number) => boolean;

/** A part of a parsed pattern. */
export type Node =
  | { readonly kind: "set"; readonly test: SetTest; readonly letter?: string }
  | { readonly kind: "sequence"; readonly parts: readonly Node[] }
  | { readonly kind: "choice"; readonly options: readonly Node[] }
  | { readonly kind: "repeat"; readonly body: Node; readonly min: number; readonly max: number; readonly mode: Mode }
  | { readonly kind: "ahead"; readonly body: Node; readonly negative: boolean }
  | { readonly kind: "atomic"; readonly body: Node }
  | { readonly kind: "assertion"; readonly holds: (text: string, at: number) => boolean };

/** Which numbers of repetitions are tried first. */
export type Mode = "greedy" | "lazy" | "possessive";

/** The text that is being searched. */
export interface State {
  text: string;
  work: Work | undefined;
}

/** Matches from a place, then goes on with what follows; gives the end of the whole match, or -1. */
export type Matcher = (at: number, next: (at: number) => number) => number;

/** The matcher of a pattern, which counts its steps in the state's work. */
export function compile(node: Node, state: State): Matcher {
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
