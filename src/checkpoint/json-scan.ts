// What JSON.parse hides: duplicate keys, and how a number was written. Also whether a value is an object.

/** What `scanJson` reports; a path lists the keys from the outermost object inwards (arrays add none). */
export interface JsonVisitor {
  /** The last key of `path` appears twice in its object, with escapes resolved. */
  duplicateKey?(path: readonly string[]): void;
  /** There is a number at `path`, written as `literal`. */
  number?(path: readonly string[], literal: string): void;
}

interface Frame {
  /** The keys seen so far, in an object; undefined in an array. */
  readonly keys: Set<string> | undefined;
  key: string | undefined;
}

/**
 * Walks `text`, which JSON.parse must have accepted, and reports what JSON.parse hides.
 * It does not recurse, so that deep nesting cannot overflow the stack.
 */
export function scanJson(text: string, visitor: JsonVisitor): void {
  const frames: Frame[] = [];
  const pathOf = (): string[] => frames.flatMap((frame) => (frame.key === undefined ? [] : [frame.key]));
  let at = 0;
  while (at < text.length) {
    const character = text.charAt(at);
    if (character === "{" || character === "[") {
      frames.push({ keys: character === "{" ? new Set() : undefined, key: undefined });
      at += 1;
    } else if (character === "}" || character === "]") {
      frames.pop();
      at += 1;
    } else if (character === '"') {
      const start = at;
      at = endOfString(text, start);
      const frame = frames.at(-1);
      if (frame?.keys === undefined || !isFollowedByColon(text, at)) continue;
      const key = String(JSON.parse(text.slice(start, at)));
      frame.key = key;
      if (frame.keys.has(key)) visitor.duplicateKey?.(pathOf());
      frame.keys.add(key);
    } else if (character === "-" || (character >= "0" && character <= "9")) {
      const start = at;
      while (/[-+.eE0-9]/.test(text.charAt(at))) at += 1;
      visitor.number?.(pathOf(), text.slice(start, at));
    } else {
      at += 1;
    }
  }
}

/** The index after the closing quote of the string that opens at `start`. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at + 1;
}

function isFollowedByColon(text: string, start: number): boolean {
  let at = start;
  while (/[ \t\n\r]/.test(text.charAt(at))) at += 1;
  return text[at] === ":";
}

/** Whether a JSON value is an object: neither null nor an array. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
