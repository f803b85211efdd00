// One replacement in a text: `start` and `end` are offsets.

/** The text with one edit made. */
export function edited(text, { start, end, replacement }) {
  return text.slice(0, start) + replacement + text.slice(end);
}

/**
 * Where an edit is, and the whole lines that it changes, before and after.
 * @param {string} text
 */
export function lineTexts(text, edit) {
  const lineStart = text.lastIndexOf("\n", edit.start - 1) + 1;
  const newline = text.indexOf("\n", edit.end);
  const lineEnd = newline === -1 ? text.length : newline;
  return {
    line: text.slice(0, edit.start).split("\n").length,
    column: edit.start - lineStart + 1,
    before: oneLine(text.slice(lineStart, lineEnd)),
    after: oneLine(text.slice(lineStart, edit.start) + edit.replacement + text.slice(edit.end, lineEnd)),
  };
}

/** A text with each run of blanks and line ends as one blank. */
export function oneLine(text) {
  return text.trim().replace(/\s+/g, " ");
}
