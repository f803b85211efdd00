// The patterns of tokenizer.json. Hugging Face's tokenizers runs them with Oniguruma, whose syntax JavaScript's RegExp reads
// otherwise in places ("$", "\s", possessive quantifiers, nested classes), and a stranger's pattern may backtrack exponentially. RE2's
// ports have no lookahead, which nearly every tokenizer needs, and Oniguruma itself as WebAssembly takes 460 KB and a page that
// allows WebAssembly. So the part of its syntax that tokenizers use is matched here, by backtracking in Oniguruma's order, and each
// step is counted: a pattern that backtracks too much ends with an error. All else is refused by name.
// Source: find_iter of the Rust crate onig 6.5.1; tokenizers 0.23.3, src/tokenizer/pattern.rs.

import { isObject } from "../../errors.ts";
import { widthAt } from "./code-points.ts";
import { type Component, tooMuchWork, type Work } from "./json.ts";
import { compile, type State } from "./pattern-matcher.ts";
import { MAX_NODES, Parser } from "./pattern-parser.ts";

/** Finds the places of a pattern in a text. */
export interface Pattern {
  /** Half-open ranges [start, end) of all matches, in UTF-16 units. @throws CheckpointError when that takes too many steps. */
  find(text: string, work: Work): readonly (readonly [number, number])[];
}

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
