// What JSON.parse hides: duplicate keys, and how a number was written.

import { at } from "../errors.ts";
import { endOfString } from "./source.ts";

/** The keys from the outermost object inwards (arrays add none), put together only when it is called. */
export type JsonPath = () => readonly string[];

/** What `scanJson` reports. */
export interface JsonVisitor {
  /** The last key of `path` appears twice in its object, with escapes resolved. */
  duplicateKey?(path: JsonPath): void;
  /** There is a number at `path`, written as `literal`. */
  number?(path: JsonPath, literal: string): void;
}

interface Frame {
  /** The keys seen so far; none in an array. */
  readonly keys: Set<string>;
  key: string | undefined;
}

/**
 * Walks `text`, which JSON.parse must have accepted, and reports what JSON.parse hides.
 * It does not recurse, so that deep nesting cannot overflow the stack.
 */
export function scanJson(text: string, visitor: JsonVisitor): void {
  const frames: Frame[] = [];
  const pathOf = (): string[] => frames.flatMap((frame) => (frame.key === undefined ? [] : [frame.key]));
  let offset = 0;
  while (offset < text.length) {
    const character = text.charAt(offset);
    if (character === "{" || character === "[") {
      frames.push({ keys: new Set(), key: undefined });
      offset += 1;
    } else if (character === "}" || character === "]") {
      frames.pop();
      offset += 1;
    } else if (character === '"') {
      const start = offset;
      offset = endOfString(text, start);
      if (!isFollowedByColon(text, offset)) continue;
      const frame = at(frames, frames.length - 1);
      const key = String(JSON.parse(text.slice(start, offset)));
      frame.key = key;
      if (frame.keys.has(key)) visitor.duplicateKey?.(pathOf);
      frame.keys.add(key);
    } else if (character === "-" || (character >= "0" && character <= "9")) {
      const start = offset;
      while (/[-+.eE0-9]/.test(text.charAt(offset))) offset += 1;
      visitor.number?.(pathOf, text.slice(start, offset));
    } else {
      offset += 1;
    }
  }
}

function isFollowedByColon(text: string, start: number): boolean {
  let at = start;
  while (/[ \t\n\r]/.test(text.charAt(at))) at += 1;
  return text[at] === ":";
}
