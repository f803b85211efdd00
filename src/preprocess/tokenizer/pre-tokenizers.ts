// Pre-tokenizers of tokenizer.json: how a text is split before the model sees it.
// Source: tokenizers 0.23.3, src/pre_tokenizers and NormalizedString::split of src/tokenizer/normalizer.rs.

import { type Component, readComponents, refuse, type Work } from "./json.ts";
import { classTest } from "./pattern-parser.ts";
import { type Pattern, parsePattern, readPattern } from "./patterns.ts";
import { isPunctuation } from "./unicode.ts";

/** Splits the text of a section. @param isFirst whether the section begins the whole text */
export type PreTokenizer = (text: string, isFirst: boolean, work: Work) => readonly string[];

type Splitter = (text: string, context: { readonly isFirst: boolean; readonly work: Work }) => readonly string[];

/** What happens to the matches of a pattern. */
const BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"] as const;
type Behavior = (typeof BEHAVIORS)[number];

/** Half-open range of a text, and whether it is a match. */
interface Range {
  readonly start: number;
  readonly end: number;
  readonly isMatch: boolean;
}

/**
 * Reads `pre_tokenizer`.
 * @param keepsStart whether the normalizer leaves the first character at the first place
 * @throws CheckpointError for a component or an option that is not supported.
 */
export function readPreTokenizer(value: unknown, keepsStart: boolean): PreTokenizer {
  const splitters = readComponents<Splitter>(
    value,
    { part: "pre_tokenizer", sequence: "pretokenizers" },
    {
      ByteLevel: readByteLevel,
      Split: readSplit,
      Metaspace: (component, index) => readMetaspace(component, keepsStart && index === 0),
      Whitespace: () => splitBy(setPattern(`${WORD}+|[^${WORD.slice(1, -1)}\\p{White_Space}]+`), "Removed", true),
      WhitespaceSplit: () => splitBy(setPattern(SPACE), "Removed"),
      Punctuation: (component) => splitBy(PUNCTUATION, component.choice("behavior", BEHAVIORS, "Isolated")),
      Digits: (component) =>
        splitBy(setPattern("\\p{N}"), component.boolean("individual_digits") ? "Isolated" : "Contiguous"),
      BertPreTokenizer: () => sequence([splitBy(setPattern(SPACE), "Removed"), splitBy(PUNCTUATION, "Isolated")]),
      CharDelimiterSplit: (component) => splitBy(characterPattern(component.character("delimiter")), "Removed"),
      FixedLength: readFixedLength,
    },
  );
  const all = sequence(splitters);
  return (text, isFirst, work) => all(text, { isFirst, work });
}

const SPACE = "\\p{White_Space}";
/** \w of the Rust crate regex. */
const WORD = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]";
const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

const PUNCTUATION = characterTest(isPunctuation);

/** One splitter after the other. */
function sequence(splitters: readonly Splitter[]): Splitter {
  return (text, context) =>
    splitters.reduce<readonly string[]>(
      (pieces, split) => pieces.flatMap((piece) => split(piece, context)).filter((piece) => piece !== ""),
      text === "" ? [] : [text],
    );
}

function readSplit(component: Component): Splitter {
  const pattern = readPattern(component);
  return splitBy(pattern, component.choice("behavior", BEHAVIORS), component.boolean("invert"));
}

function readByteLevel(component: Component): Splitter {
  const addPrefixSpace = component.boolean("add_prefix_space");
  const useRegex = component.boolean("use_regex", true);
  component.boolean("trim_offsets");
  const split = splitBy(parsePattern(GPT2), "Isolated");
  return (text, context) => {
    const spaced = addPrefixSpace && !text.startsWith(" ") ? ` ${text}` : text;
    const pieces = useRegex ? split(spaced, context) : [spaced];
    return pieces.map(toByteCharacters);
  };
}

function readMetaspace(component: Component, canBeFirst: boolean): Splitter {
  const { replacement, scheme } = readMetaspaceOptions(component);
  const isSplit = component.boolean("split", true);
  const split = splitBy(characterPattern(replacement), "MergedWithNext");
  if (scheme === "first" && !canBeFirst) {
    throw refuse(
      `${component.where}.prepend_scheme`,
      'must not be "first" after another pre-tokenizer, or a normalizer that may change how a text begins: use "always" or "never".',
    );
  }
  return (text, context) => {
    const replaced = text.replaceAll(" ", replacement);
    const isPrepended = scheme === "always" || (scheme === "first" && context.isFirst);
    const whole = isPrepended && !replaced.startsWith(replacement) ? replacement + replaced : replaced;
    return isSplit ? split(whole, context) : [whole];
  };
}

/** Options that Metaspace has as a pre-tokenizer and as a decoder. @throws CheckpointError for those that contradict each other. */
export function readMetaspaceOptions(component: Component): {
  readonly replacement: string;
  readonly scheme: "first" | "never" | "always";
} {
  const replacement = component.character("replacement");
  const scheme = component.choice("prepend_scheme", ["first", "never", "always"], "always");
  component.string("str_rep", ""); // not read by tokenizers either
  if (!component.boolean("add_prefix_space", true) && scheme !== "never") {
    throw component.wrong("add_prefix_space", 'true unless prepend_scheme is "never"', false);
  }
  return { replacement, scheme };
}

function readFixedLength(component: Component): Splitter {
  const length = component.count("length", { max: 2 ** 20, missing: 5 });
  if (length === 0) throw component.wrong("length", "at least 1", length);
  return (text) => {
    const characters = [...text];
    const count = Math.ceil(characters.length / length);
    return Array.from({ length: count }, (_, index) => characters.slice(index * length, (index + 1) * length).join(""));
  };
}

/** Splits at a pattern's matches. */
function splitBy(pattern: Pattern, behavior: Behavior, invert = false): Splitter {
  return (text, { work }) => {
    const ranges = rangesOf(text, pattern.find(text, work)).map((range) => ({
      ...range,
      isMatch: range.isMatch !== invert,
    }));
    return merged(ranges, behavior)
      .map(({ start, end }) => text.slice(start, end))
      .filter((piece) => piece !== "");
  };
}

/** The matches and what is between them. */
function rangesOf(text: string, matches: readonly (readonly [number, number])[]): readonly Range[] {
  const ranges: Range[] = [];
  let last = 0;
  for (const [start, end] of matches) {
    if (last !== start) ranges.push({ start: last, end: start, isMatch: false });
    ranges.push({ start, end, isMatch: true });
    last = end;
  }
  if (last !== text.length) ranges.push({ start: last, end: text.length, isMatch: false });
  return ranges;
}

function merged(ranges: readonly Range[], behavior: Behavior): readonly Range[] {
  if (behavior === "Isolated") return ranges;
  if (behavior === "Removed") return ranges.filter(({ isMatch }) => !isMatch);
  const isBackward = behavior === "MergedWithNext";
  const pieces: Range[] = [];
  let wasMatch = false;
  for (const range of isBackward ? [...ranges].reverse() : ranges) {
    const joins = behavior === "Contiguous" ? range.isMatch === wasMatch : range.isMatch && !wasMatch;
    const last = joins ? pieces.pop() : undefined;
    const { start, end } = last ?? range;
    pieces.push({ ...range, start: isBackward ? range.start : start, end: isBackward ? end : range.end });
    wasMatch = range.isMatch;
  }
  return isBackward ? pieces.reverse() : pieces;
}

/** A pattern of ours that RegExp finds in linear time. */
function setPattern(source: string): Pattern {
  const expression = new RegExp(source, "gu");
  return {
    find(text, work) {
      work.spend(text.length);
      return Array.from(text.matchAll(expression), ({ index, 0: { length } }) => [index, index + length] as const);
    },
  };
}

/** Each character for which a test holds. */
function characterTest(test: (codePoint: number) => boolean): Pattern {
  return {
    find(text, work) {
      work.spend(text.length);
      const found: [number, number][] = [];
      let at = 0;
      for (const character of text) {
        const end = at + character.length;
        if (test(character.codePointAt(0) ?? 0)) found.push([at, end]);
        at = end;
      }
      return found;
    },
  };
}

function characterPattern(wanted: string): Pattern {
  const codePoint = wanted.codePointAt(0);
  return characterTest((other) => other === codePoint);
}

const encoder = new TextEncoder();

/** GPT-2's printable character of each byte. */
export const BYTE_CHARACTERS: readonly string[] = byteCharacters();

function byteCharacters(): readonly string[] {
  const isPrintable = classTest("!-~\\u00a1-\\u00ac\\u00ae-\\u00ff");
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : next++));
}

/** A text as GPT-2's characters of its UTF-8 bytes. */
export function toByteCharacters(text: string): string {
  let result = "";
  for (const byte of encoder.encode(text)) result += BYTE_CHARACTERS[byte];
  return result;
}
