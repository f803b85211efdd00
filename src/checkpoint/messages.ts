// How names that come from files are shown in messages: quoted, escaped and never long.

const MAX_SHOWN_CHARACTERS = 120;
const MAX_LISTED_NAMES = 8;

/** `text` in double quotes with control characters escaped, cut to 120 characters. */
export function quote(text: string): string {
  const shown = text.length > MAX_SHOWN_CHARACTERS ? `${text.slice(0, MAX_SHOWN_CHARACTERS)}…` : text;
  return JSON.stringify(shown).replace(/[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** The first eight of `names`, and how many more there are: `a, b and 3 more`. */
export function listNames(names: readonly string[]): string {
  const shown = names.slice(0, MAX_LISTED_NAMES).join(", ");
  const numHidden = names.length - MAX_LISTED_NAMES;
  return numHidden > 0 ? `${shown} and ${numHidden} more` : shown;
}

/** A JSON value's kind, for "expected …, got …". */
export function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
