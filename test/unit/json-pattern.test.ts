// Patterns of JSON schemas, compared with the regular expressions of JavaScript: what the masks allow matches, and what matches is allowed.
import { describe, expect, test } from "vitest";
import { AmbiguityError } from "../../src/generate/grammar/matcher.ts";
import { createRandom } from "../reference/random.ts";
import { bytePlaces, END, idsOf, randomText } from "./json-walk.ts";

const PATTERNS = [
  ...["^(ab|cd)+$", "a|b", "^a|b$", "^(?:a|b)?c{2,}$", "^\\d{3}-\\d+$", "[0-9]{2}", ".*", "^$", "^.{2,5}?$"],
  ...["^[^a]*$", "^\\S+$", "^\\w\\s\\w$", '^[^"a-z]{3}$', "^\\u0041\\x42[\\]\\-x]$", "^\\u{1F600}+$", "^[a-zà-ÿ]+$"],
  ...['^"\\\\\\n$', "^x{40,70}$", "^https?://[a-z.]+(/[\\w-]*)*$", "^(?<year>\\d{4})-(0[1-9]|1[0-2])$", "^[\\d\\-.]+$"],
  ...["^(a*)*b$", "^((a{0,9}){0,9}){0,9}$", "^(([a-z]+)+ ?)+$", "^[\\s\\S]$", "^(|a)(b|)$", "^[^\\W\\d]$"],
];

test.each(PATTERNS)("%s: what the masks allow matches", (pattern) => {
  const places = bytePlaces({ type: "string", pattern });
  const regular = new RegExp(pattern, "u");
  const random = createRandom(5);
  let numEnded = 0;
  for (let run = 0; run < 100; run++) {
    const bytes = randomText(places, random, 400);
    if (bytes === undefined) continue;
    numEnded++;
    expect(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes))).toMatch(regular);
  }
  expect(numEnded).toBeGreaterThan(20);
});

test("random patterns of letters allow exactly what matches", () => {
  const random = createRandom(11);
  const words = texts("ab", 4);
  const part = (depth: number): string => {
    const kind = depth === 0 ? 0 : random.integer(6);
    if (kind < 2) return ["a", "b", "[ab]", "."][random.integer(4)] ?? "a";
    if (kind === 2) return `(${part(depth - 1)}|${part(depth - 1)})`;
    if (kind === 3) return `(?:${part(depth - 1)})${["*", "+", "?", "{2}", "{1,2}"][random.integer(5)]}`;
    return part(depth - 1) + part(depth - 1);
  };
  for (let run = 0; run < 60; run++) {
    const pattern = `^${part(3)}$`;
    const places = bytePlaces({ type: "string", pattern });
    const regular = new RegExp(pattern, "u");
    for (const word of words) {
      let place = places.start();
      const isAllowed = [...Buffer.from(`"${word}"`), END].every((id) => {
        const isNext = idsOf(places.allowed(place)).includes(id);
        place = places.after(place, id) ?? place;
        return isNext;
      });
      expect([pattern, word, isAllowed]).toEqual([pattern, word, regular.test(word)]);
    }
  }
});

/** All texts of these letters up to a length. */
function texts(letters: string, length: number): readonly string[] {
  if (length === 0) return [""];
  const shorter = texts(letters, length - 1);
  const longest = shorter.filter((word) => word.length === length - 1);
  return [...shorter, ...longest.flatMap((word) => [...letters].map((letter) => word + letter))];
}

describe("refused", () => {
  test.each([
    ["(", /not a regular expression/],
    ["(?=a)b", /looking ahead or behind/],
    ["(?<!a)b", /looking ahead or behind/],
    ["(a)\\1", /using \\1, which is not supported/],
    ["a\\b", /using \\b, which is not supported/],
    ["\\p{L}", /using \\p, which is not supported/],
    ["(^a)", /anchored within a part/],
    ["a{1001}", /repeating more than 1000 times/],
    ["a".repeat(501), /longer than 500 characters/],
    ["[\\x00-\\x1f]", /of characters that are not supported/],
  ])("%s", (pattern, message) => {
    expect(() => bytePlaces({ type: "string", pattern })).toThrow(message);
  });

  test("what matches the same text in too many ways", () => {
    const places = bytePlaces({ type: "string", pattern: "^(\\w{0,1000}){0,1000}$" });
    const place = places.start();
    expect(() => places.after(places.after(place, 0x22) ?? place, 0x61)).toThrow(AmbiguityError);
  });
});
