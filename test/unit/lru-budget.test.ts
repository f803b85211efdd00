import { expect, test } from "vitest";
import { LruBudget, type LruItem } from "../../src/generate/lru-budget.ts";

function items(names: string, evicted: string[], numBytes = 10): Record<string, LruItem> {
  return Object.fromEntries([...names].map((name) => [name, { numBytes, evict: () => evicted.push(name) }]));
}

test("the least recently used goes first, and only as much as is needed", () => {
  const evicted: string[] = [];
  const { a, b, c, d } = items("abcd", evicted);
  const budget = new LruBudget(30);
  for (const item of [a, b, c]) if (item !== undefined) budget.use(item);
  expect([evicted, budget.numBytes]).toEqual([[], 30]);
  if (a !== undefined) budget.use(a); // now b is the oldest
  if (d !== undefined) budget.use(d);
  expect([evicted, budget.numBytes]).toEqual([["b"], 30]);
});

test("the newest stays, however large", () => {
  const evicted: string[] = [];
  const { a, b } = items("ab", evicted, 100);
  const budget = new LruBudget(0);
  if (a !== undefined) budget.use(a);
  expect(evicted).toEqual([]);
  if (b !== undefined) budget.use(b);
  expect([evicted, budget.numBytes]).toEqual([["a"], 100]);
});

test("what is taken out is not evicted, and clear evicts all", () => {
  const evicted: string[] = [];
  const { a, b, c } = items("abc", evicted);
  const budget = new LruBudget(100);
  for (const item of [a, b, c]) if (item !== undefined) budget.use(item);
  if (b !== undefined) budget.remove(b);
  expect(budget.numBytes).toBe(20);
  budget.clear();
  expect([evicted, budget.numBytes]).toEqual([["a", "c"], 0]);
});
