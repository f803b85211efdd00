// Every small change that the mutation run can make to a WGSL file. Only function bodies and the values of `const` are
// changed: declarations (bindings, params, overrides, struct members) are checked by the engine when a kernel is defined.

import { lineTexts } from "./text-edit.mjs";

/** Names that open a template list: the `<` after them is not a comparison. */
const templateNames = /^(vec[234]|mat[234]x[234]|array|ptr|atomic|var|bitcast)$/;
const tokenPattern =
  /\/\/.*|\/\*[\s\S]*?\*\/|0[xX][\da-fA-F]+[iu]?|(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?[iufh]?|[A-Za-z_]\w*|<<=|>>=|&&|\|\||<<|>>|[<>=!+\-*/%&|^]=|\+\+|--|->|[^\s\w]/g;

/** Alternatives of an operator between two operands. A comparison has its boundary moved, and is turned round. */
const binary = {
  "+": ["-"],
  "-": ["+"],
  "*": ["/"],
  "/": ["*"],
  "%": ["*"],
  "<": ["<=", ">="],
  "<=": ["<", ">"],
  ">": [">=", "<="],
  ">=": [">", "<"],
  "==": ["!="],
  "!=": ["=="],
  "&&": ["||"],
  "||": ["&&"],
  "&": ["|"],
  "|": ["&"],
  "^": ["|"],
  "<<": [">>"],
  ">>": ["<<"],
  "+=": ["-="],
  "-=": ["+="],
  "*=": ["/="],
  "/=": ["*="],
  "|=": ["&="],
  "&=": ["|="],
};

/**
 * All mutations of a WGSL text, in the order of the text.
 * @param {string} text
 * @returns {{kind: string, start: number, end: number, replacement: string, line: number, column: number, before: string,
 *   after: string}[]} `before` and `after` are the changed lines as they were and are, trimmed, joined by blanks
 */
export function wgslMutations(text) {
  const tokens = tokensOf(text);
  const edits = [];
  const add = (kind, start, end, replacement) => edits.push({ kind, start, end, replacement });
  for (const [first, last] of mutableRanges(tokens)) {
    for (let i = first; i < last; i++) addTokenEdits(text, tokens, i, add);
  }
  for (const [first, last] of functionBodies(tokens)) addDroppedStatements(tokens, [first, last], add);
  edits.sort((a, b) => a.start - b.start || a.end - b.end);
  return edits.map((edit) => ({ ...edit, ...lineTexts(text, edit) }));
}

/** Tokens without comments; those of a template list, whose `<` and `>` are brackets, are marked. */
function tokensOf(text) {
  const tokens = [];
  let templateDepth = 0;
  tokenPattern.lastIndex = 0;
  for (let match = tokenPattern.exec(text); match !== null; match = tokenPattern.exec(text)) {
    let [value] = match;
    if (value.startsWith("//") || value.startsWith("/*")) continue;
    // The end of two lists at once, or of one before `=`.
    if (templateDepth > 0 && value.startsWith(">") && value.length > 1) {
      value = ">";
      tokenPattern.lastIndex = match.index + 1;
    }
    const opens = value === "<" && templateNames.test(tokens.at(-1)?.value ?? "");
    if (opens) templateDepth++;
    tokens.push({ value, start: match.index, end: match.index + value.length, isTemplate: templateDepth > 0 });
    if (value === ">" && templateDepth > 0) templateDepth--;
  }
  return tokens;
}

/** Index ranges of the tokens in function bodies and in the values of module-scope constants. */
function mutableRanges(tokens) {
  const ranges = functionBodies(tokens);
  const isInside = (index) => ranges.some(([first, last]) => index >= first && index < last);
  const constants = tokens.flatMap(({ value }, index) => {
    if (value !== "const" || isInside(index)) return [];
    const first = tokens.findIndex((token, at) => at > index && token.value === "=") + 1;
    return [[first, tokens.findIndex((token, at) => at > first && token.value === ";")]];
  });
  return [...ranges, ...constants].sort(([a], [b]) => a - b);
}

function functionBodies(tokens) {
  const bodies = [];
  for (let i = 0; i < tokens.length; i++) {
    if (tokens[i].value !== "fn") continue;
    const open = tokens.findIndex(({ value }, index) => index > i && value === "{");
    const close = closing(tokens, open);
    bodies.push([open + 1, close]);
    i = close;
  }
  return bodies;
}

/** Index of the bracket that closes the one at `open`. */
function closing(tokens, open) {
  const pairs = { "{": "}", "(": ")", "[": "]" };
  const opener = tokens[open].value;
  let depth = 0;
  for (let i = open; i < tokens.length; i++) {
    if (tokens[i].value === opener) depth++;
    else if (tokens[i].value === pairs[opener] && --depth === 0) return i;
  }
  throw new Error(`a ${opener} is not closed`);
}

/** What can be done at one token: another operator, number or function, or `select`'s values exchanged. */
function addTokenEdits(text, tokens, index, add) {
  const { value, start, end, isTemplate } = tokens[index];
  if (isTemplate) return;
  const previous = tokens[index - 1];
  const next = tokens[index + 1];
  const followsOperand = /^[\w.]|^[)\]]$/.test(previous.value) && previous.value !== "return";
  if (value in binary && (followsOperand || previous.isTemplate)) {
    for (const other of binary[value]) add("operator", start, end, other);
  } else if (value === "-" || value === "!") {
    add("operator", start, end, "");
  } else if (/^\d|^\.\d/.test(value)) {
    const { kind, others } = otherNumbers(value);
    for (const other of others) add(kind, start, end, other);
  } else if (value === "true" || value === "false") {
    add("constant", start, end, value === "true" ? "false" : "true");
  } else if ((value === "min" || value === "max") && next.value === "(") {
    add("min/max", start, end, value === "min" ? "max" : "min");
  } else if (value === "select" && next.value === "(") {
    const [falseArm, trueArm] = argumentsOf(tokens, index + 1);
    const part = ([first, last]) => text.slice(tokens[first].start, tokens[last].end);
    const from = tokens[falseArm[0]].start;
    const to = tokens[trueArm[1]].end;
    add("select", from, to, `${part(trueArm)}, ${part(falseArm)}`);
  }
}

/** An integer's neighbours; 1 for the float 0, half of any other float. */
function otherNumbers(literal) {
  const [, digits, suffix] = /^(0[xX][\da-fA-F]+|[\d.]+(?:[eE][+-]?\d+)?)([iufh]?)$/.exec(literal);
  const isHex = /^0[xX]/.test(digits);
  const number = Number(digits);
  const isFloat = suffix === "f" || suffix === "h" || (!isHex && /[.eE]/.test(digits));
  if (isFloat) return { kind: "constant", others: [`${number === 0 ? "1.0" : asFloat(number / 2)}${suffix}`] };
  const write = (n) => `${isHex ? `0x${n.toString(16)}` : n}${suffix}`;
  return { kind: "bound", others: (number === 0 ? [1] : [number - 1, number + 1]).map(write) };
}

function asFloat(number) {
  const text = String(number);
  return /[.e]/.test(text) ? text : `${text}.0`;
}

/** Of a call whose bracket is at `open`: the first and last token of each argument. */
function argumentsOf(tokens, open) {
  const close = closing(tokens, open);
  const found = [];
  let first = open + 1;
  let depth = 0;
  for (let i = open + 1; i <= close; i++) {
    const { value, isTemplate } = tokens[i];
    if (depth === 0 && !isTemplate && (value === "," || i === close)) {
      found.push([first, i - 1]);
      first = i + 1;
    } else if (/^[([{]$/.test(value)) depth++;
    else if (/^[)\]}]$/.test(value)) depth--;
  }
  return found;
}

/** Statements that may go without what follows becoming undefined: assignments, calls, and jumps without a value. */
function addDroppedStatements(tokens, [first, last], add) {
  let start = first;
  let depth = 0;
  for (let i = first; i < last; i++) {
    const { value } = tokens[i];
    if (value === "(" || value === "[") depth++;
    else if (value === ")" || value === "]") depth--;
    else if (depth === 0 && (value === "{" || value === "}")) start = i + 1;
    else if (depth === 0 && value === ";") {
      const head = tokens[start].value;
      const hasValue = head === "return" && i > start + 1;
      if (start < i && !hasValue && !/^(let|var|const|const_assert)$/.test(head)) {
        add(/Barrier$/.test(head) ? "barrier" : "statement", tokens[start].start, tokens[i].end, "");
      }
      start = i + 1;
    }
  }
}
