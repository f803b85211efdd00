// Path patterns: `*` within a folder, `**` across folders, `{a,b}`.

/**
 * @param {readonly string[]} patterns
 * @returns {(path: string) => boolean} whether a path, with `/` between folders, matches one of them
 */
export function matcherOf(patterns) {
  const expressions = patterns.map((pattern) => {
    const source = pattern.replace(/\*\*\/|\*\*|[*?{},]|[.+^$()|[\]\\]/g, (part) => parts[part] ?? `\\${part}`);
    return new RegExp(`^${source}$`);
  });
  return (path) => expressions.some((expression) => expression.test(path));
}

const parts = { "**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")", ",": "|" };
