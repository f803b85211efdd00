// What is typed into adaptvis chat: messages of several lines, commands, and the tokens of a word.
import { describe, expect, test } from "vitest";
import { COMMAND_WORDS, helpText, parseCommand, parseHeatMap, unquoted } from "../../src/cli/chat-commands.ts";
import { MessageJoiner } from "../../src/cli/chat-input.ts";
import { UsageError } from "../../src/cli/session.ts";
import { tokensOfWord } from "../../src/inspect/answer-words.ts";

/** The messages of some lines, a block marked by its first letter. */
function messagesOf(...lines: readonly string[]): readonly string[] {
  const joiner = new MessageJoiner();
  return [...lines.map((line) => joiner.push(line)), joiner.end()].flatMap((message) =>
    message === undefined ? [] : [`${message.isBlock ? "block " : ""}${message.text}`],
  );
}

describe("lines to messages", () => {
  test.each<readonly [string, readonly string[], readonly string[]]>([
    ["each line is one", ["a", "", "b "], ["a", "", "b"]],
    ["a backslash joins", ["a\\", "b\\", "c", "d"], ["a\nb\nc", "d"]],
    ["a block", ['"""', "a", "", 'b"""', "c"], ["block a\n\nb", "c"]],
    ["a block on one line", ['"""/help"""', "c"], ["block /help", "c"]],
    ["a backslash inside a block is kept", ['"""a\\', 'b"""'], ["block a\\\nb"]],
    ["an open message at the end", ["a\\"], ["a"]],
    ["an open block at the end", ['"""a', "b"], ["block a\nb"]],
    ["quotes inside a line are text", ['say """x"""'], ['say """x"""']],
  ])("%s", (_, lines, messages) => {
    expect(messagesOf(...lines)).toEqual(messages);
  });

  test("a dropped message leaves nothing behind", () => {
    const joiner = new MessageJoiner();
    joiner.push('"""a');
    expect(joiner.isOpen).toBe(true);
    joiner.drop();
    expect(joiner.isOpen).toBe(false);
    expect(joiner.push("b")).toEqual({ text: "b", isBlock: false });
  });
});

describe("commands", () => {
  test.each([
    ["/image  a b.png ", { name: "image", rest: "a b.png" }],
    ["/AGAIN", { name: "again", rest: "" }],
    ["/system one\ntwo", { name: "system", rest: "one\ntwo" }],
  ])("%s", (text, command) => {
    expect(parseCommand(text)).toEqual(command);
  });

  test.each([
    ["/imgae x", "/imgae is not a command: did you mean /image?"],
    ["/h", "/h is not a command: did you mean /heatmap?"],
    ["/heat-map left", "/heat-map is not a command: did you mean /heatmap?"],
    ["/frobnicate", "/frobnicate is not a command: /help lists all."],
    ["/", "/ is not a command: /help lists all."],
  ])("%s is refused", (text, message) => {
    expect(() => parseCommand(text)).toThrow(new UsageError(message));
  });

  test("/help has each of them", () => {
    for (const word of COMMAND_WORDS) expect(helpText()).toContain(`\n${word}`.slice(word === "/image" ? 1 : 0));
  });

  test.each([
    ["left", { word: "left", file: "heatmap-left.png" }],
    ["left out dir/x y.png", { word: "left", file: "out dir/x y.png" }],
    ['"to the left" x.png', { word: "to the left", file: "x.png" }],
    ['"to the left"', { word: "to the left", file: "heatmap-to-the-left.png" }],
    ["../x", { word: "../x", file: "heatmap--x.png" }],
  ])("/heatmap %s", (rest, parsed) => {
    expect(parseHeatMap(rest)).toEqual(parsed);
  });

  test("/heatmap needs a word; quotes around a file are dropped", () => {
    expect(() => parseHeatMap("")).toThrow(UsageError);
    expect([unquoted('"a b"'), unquoted("'a'"), unquoted('"a')]).toEqual(["a b", "a", '"a']);
  });
});

describe("the tokens of a word", () => {
  const tokens = [" The", " fr", "ont", ",", " on", " the", " left", "."].map((text) => ({ text }));
  test.each<readonly [string, readonly number[]]>([
    ["front", [1, 2]],
    ["on", [4]],
    ["LEFT", [6]],
    ["on the", [4, 5]],
    [".", [7]],
    ["ef", [6]],
    ["right", []],
    ["(", []],
  ])("%s", (word, expected) => {
    expect(tokensOfWord(tokens, word)).toEqual(expected);
  });
});
