// Normalizers of tokenizer.json: how a text is changed before it is split.
// Source: tokenizers 0.23.3, src/normalizers.

import { type Component, readComponents, type Work } from "./json.ts";
import { readPattern } from "./patterns.ts";
import { toByteCharacters } from "./pre-tokenizers.ts";
import { normalizeUnicode, stripAccents } from "./unicode.ts";

/** A tokenizer's whole normalizer. */
export interface Normalizer {
  /** Whether the first character of a text comes from its first character, and is not put there. */
  readonly keepsStart: boolean;
  /** @throws CheckpointError when the text becomes too long, or takes too many steps. */
  normalize(text: string, work: Work): string;
}

interface Step {
  readonly where: string;
  readonly keepsStart: boolean;
  apply(text: string, work: Work): string;
}

/** Reads `normalizer`. @throws CheckpointError for a component or an option that is not supported. */
export function readNormalizer(value: unknown): Normalizer {
  const plain = (apply: (text: string) => string, keepsStart: boolean) => (component: Component) => ({
    where: component.where,
    keepsStart,
    apply,
  });
  const steps = readComponents<Step>(
    value,
    { part: "normalizer", sequence: "normalizers" },
    {
      NFC: plain((text) => normalizeUnicode(text, "NFC"), true),
      NFD: plain((text) => normalizeUnicode(text, "NFD"), true),
      NFKC: plain((text) => normalizeUnicode(text, "NFKC"), true),
      NFKD: plain((text) => normalizeUnicode(text, "NFKD"), true),
      Lowercase: plain(lowercase, true),
      StripAccents: plain(stripAccents, false),
      Nmt: plain(nmt, false),
      ByteLevel: plain(toByteCharacters, true),
      Strip: readStrip,
      Prepend: readPrepend,
      Replace: readReplace,
    },
  );
  return {
    keepsStart: steps.every(({ keepsStart }) => keepsStart),
    normalize(text, work) {
      let result = text;
      for (const { where, apply } of steps) {
        result = apply(result, work);
        work.checkLength(result.length, where);
      }
      return result;
    },
  };
}

/** Each character by itself, as in Rust: JavaScript's toLowerCase writes a sigma at the end of a word otherwise. */
function lowercase(text: string): string {
  return text
    .replace(/\P{ASCII}/gu, (character) => character.toLowerCase())
    .replace(/[A-Z]+/g, (run) => run.toLowerCase());
}

/** Control characters that stay, or become a space as others do. Source: do_nmt of src/normalizers/unicode.rs. */
function nmt(text: string): string {
  return text
    .replace(/\p{Cc}/gu, (control) => {
      if ("\t\n\f\r".includes(control)) return " ";
      const code = control.charCodeAt(0);
      return code === 0 || (code >= 0x80 && code !== 0x8f && code !== 0x9f) ? control : "";
    })
    .replace(/[\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/gu, " ");
}

function readStrip(component: Component): Step {
  const left = component.boolean("strip_left");
  const right = component.boolean("strip_right");
  return {
    where: component.where,
    keepsStart: !left,
    apply(text) {
      const isSpace = (character: string) => /\p{White_Space}/u.test(character);
      let start = 0;
      let end = text.length;
      while (left && start < end && isSpace(text.charAt(start))) start++;
      while (right && end > start && isSpace(text.charAt(end - 1))) end--;
      return text.slice(start, end);
    },
  };
}

function readPrepend(component: Component): Step {
  const prefix = component.string("prepend");
  return { where: component.where, keepsStart: false, apply: (text) => (text === "" ? "" : prefix + text) };
}

function readReplace(component: Component): Step {
  const pattern = readPattern(component);
  const content = component.string("content");
  return {
    where: component.where,
    keepsStart: content !== "",
    apply(text, work) {
      const found = text === "" ? [] : pattern.find(text, work);
      work.checkLength(lengthOfReplaced(text, found, content), component.where);
      return replaced(text, found, content);
    },
  };
}

/** The length of what {@link replaced} gives. */
export function lengthOfReplaced(text: string, found: readonly (readonly [number, number])[], content: string): number {
  return found.reduce((length, [start, end]) => length + content.length - (end - start), text.length);
}

/** A text with other content at the places of a pattern. */
export function replaced(text: string, found: readonly (readonly [number, number])[], content: string): string {
  const pieces: string[] = [];
  let last = 0;
  for (const [start, end] of found) {
    pieces.push(text.slice(last, start), content);
    last = end;
  }
  pieces.push(text.slice(last));
  return pieces.join("");
}
