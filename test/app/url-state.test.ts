// States go into the address and come back; whatever is no such address is left out without an error.
import { describe, expect, test } from "vitest";
import { decodeHash, encodeHash, type SharedState } from "../../src/app/url-state.ts";
import { MUG_AND_DOG } from "./mug-and-dog.ts";

const settings = { alpha1: 0.5, alpha2: 1.2, beta: 0.6 };

describe("addresses", () => {
  test("hold a state whole, and are the same for the same state", () => {
    const state: SharedState = {
      scene: MUG_AND_DOG,
      question: "Where is the mug? 100 % & more ünïcode #1",
      settings,
      pass: 12,
    };
    const hash = encodeHash(state);
    expect(decodeHash(hash)).toEqual(state);
    expect(encodeHash(decodeHash(hash))).toBe(hash);
    expect(hash.startsWith("#scene=wall;mug,260,620,320;dog,720,600,360&q=Where+is+the+mug")).toBe(true);
  });

  test("hold the compared methods with what is written in their fields, and marked patches", () => {
    const state: SharedState = {
      A: { name: "greedy", texts: {} },
      B: { name: "scaling", texts: { factor: "2", strengths: "1,0; 0,1 & more" } },
      cut: [9, 10, 17],
    };
    const hash = encodeHash(state);
    expect(hash).toBe("#A=greedy&B=scaling&B.factor=2&B.strengths=1%2C0%3B+0%2C1+%26+more&cut=9,10,17");
    expect(decodeHash(hash)).toEqual(state);
    expect(decodeHash("#cut=3,1,3")).toEqual({ cut: [1, 3] });
    const bad = ["#A=", "#A=__proto__", "#A.factor=2", "#cut=", "#cut=1,x", "#cut=-1", "#cut=70000"];
    for (const text of bad) expect(decodeHash(text), text).toEqual({});
    expect(decodeHash("#A=vcd&A.__proto__=1&B.x=1&A.y=2")).toEqual({ A: { name: "vcd", texts: { y: "2" } } });
  });

  test("hold parts", () => {
    expect(encodeHash({})).toBe("");
    expect(decodeHash("")).toEqual({});
    expect(decodeHash("#pass=3")).toEqual({ pass: 3 });
    expect(decodeHash(encodeHash({ settings }))).toEqual({ settings });
    expect(decodeHash("#scene=plain")).toEqual({ scene: { background: "plain", objects: [] } });
  });

  test("that are bad give nothing, part by part", () => {
    const bad = [
      "#scene=nowhere;mug,1,2,3",
      "#scene=plain;toString,500,500,300",
      "#scene=plain;mug,500,500",
      "#scene=plain;mug,-1,500,300",
      "#scene=plain;mug,500,500,300,x",
      "#scene=plain;mug,500,500,300,f,f",
      `#scene=plain${";mug,500,500,300".repeat(99)}`,
      "#a=1,2",
      "#a=1,2,3",
      "#a=NaN,1,0.5",
      "#a=1e99,1,0.5",
      "#a=1,1,0.5,0.5",
      "#pass=-1",
      "#pass=1.5",
      "#pass=99999999999",
      "#q=",
      "#%E0%A4%A",
      "#&&&===",
    ];
    for (const hash of bad) expect(decodeHash(hash), hash).toEqual({});
    expect(decodeHash("#scene=bad&pass=4&a=x")).toEqual({ pass: 4 });
  });

  test("that place an object outside give it inside", () => {
    const [object] = decodeHash("#scene=plain;mug,0,1000,999").scene?.objects ?? [];
    expect(object).toMatchObject({ size: 0.5, y: 0.75 });
  });

  test("cut a question that is too long", () => {
    expect(decodeHash(encodeHash({ question: "a".repeat(5000) })).question).toHaveLength(1000);
  });
});
