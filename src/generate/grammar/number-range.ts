// Numbers within bounds, by their digits.
import { characters, choice, type Expression, literal, optional, repeat, sequence } from "./grammar.ts";

/** Digits of the largest numbers that are written: every whole one of them is exact in JavaScript. */
export const MAX_DIGITS = 15;

/** Any digit. */
export const DIGIT = digits(0, 9);

/** Digits from one to another. */
export function digits(first: number, last: number): Expression {
  return characters([[0x30 + first, 0x30 + last]]);
}

/** What bounds leave of decimal numbers. */
export interface DecimalBounds {
  /** Whole numbers, −10¹⁵ < least ≤ most < 10¹⁵. */
  readonly least: number;
  readonly most: number;
  /** Whether the bounds themselves are allowed. */
  readonly hasLeast: boolean;
  readonly hasMost: boolean;
}

/** Whole numbers from `least` to `most`, −10¹⁵ < least ≤ most < 10¹⁵. */
export function wholeNumbers(least: number, most: number): Expression {
  return choice([
    ...(least < 0 ? [sequence(literal("-"), magnitudes(Math.max(1, -most), -least))] : []),
    ...(most >= 0 ? [magnitudes(Math.max(0, least), most)] : []),
  ]);
}

/** Numbers with up to 15 decimals, without an exponent. */
export function decimalNumbers({ least, most, hasLeast, hasMost }: DecimalBounds): Expression {
  const negative = { least: Math.max(0, -most), most: -least, hasLeast: most > 0 || hasMost, hasMost: hasLeast };
  const positive = { least: Math.max(0, least), most, hasLeast: least < 0 || hasLeast, hasMost };
  return choice([
    ...(least < 0 ? [sequence(literal("-"), decimalMagnitudes(negative))] : []),
    ...(most >= 0 ? [decimalMagnitudes(positive)] : []),
  ]);
}

/** As decimalNumbers, of 0 or more. */
function decimalMagnitudes({ least, most, hasLeast, hasMost }: DecimalBounds): Expression {
  const parts: Expression[] = [];
  const from = hasLeast ? least : least + 1;
  const decimals = (few: Expression) => sequence(literal("."), few);
  if (!hasLeast && least < most) {
    const notZero = sequence(repeat(DIGIT, 0, MAX_DIGITS - 1), digits(1, 9));
    parts.push(sequence(magnitudes(least, least), decimals(notZero)));
  }
  if (from < most) {
    parts.push(sequence(magnitudes(from, most - 1), optional(decimals(repeat(DIGIT, 1, MAX_DIGITS)))));
  }
  if (hasMost && from <= most) parts.push(magnitudes(most, most));
  return choice(parts);
}

/** Whole numbers of 0 or more, without leading zeros. */
function magnitudes(least: number, most: number): Expression {
  const parts: Expression[] = [];
  for (let length = String(least).length; length <= String(most).length; length++) {
    const first = Math.max(least, length === 1 ? 0 : 10 ** (length - 1));
    const last = Math.min(most, 10 ** length - 1);
    parts.push(sameLength(String(first), String(last)));
  }
  return choice(parts);
}

/** The digit strings from `first` to `last`, which are equally long. */
function sameLength(first: string, last: string): Expression {
  if (first === last) return literal(first);
  const rest = first.length - 1;
  const [from, to] = [Number(first[0]), Number(last[0])];
  if (rest === 0) return digits(from, to);
  const [tailFrom, tailTo] = [first.slice(1), last.slice(1)];
  if (from === to) return sequence(digits(from, from), sameLength(tailFrom, tailTo));
  const isWholeFrom = /^0*$/.test(tailFrom);
  const isWholeTo = /^9*$/.test(tailTo);
  const [middleFrom, middleTo] = [isWholeFrom ? from : from + 1, isWholeTo ? to : to - 1];
  return choice([
    ...(isWholeFrom ? [] : [sequence(digits(from, from), sameLength(tailFrom, "9".repeat(rest)))]),
    ...(middleFrom <= middleTo ? [sequence(digits(middleFrom, middleTo), repeat(DIGIT, rest, rest))] : []),
    ...(isWholeTo ? [] : [sequence(digits(to, to), sameLength("0".repeat(rest), tailTo))]),
  ]);
}
