// Decoders and post-processors of tokenizer.json: what is made of tokens, and which special tokens a text gets.
// Source: tokenizers 0.23.3, src/decoders and src/processors.

import { isObject, shown } from "../../errors.ts";
import { type Component, readComponents, refuse, Work } from "./json.ts";
import { lengthOfReplaced, replaced } from "./normalizers.ts";
import { readPattern } from "./patterns.ts";
import { BYTE_CHARACTERS, readMetaspaceOptions } from "./pre-tokenizers.ts";

type Step = (tokens: readonly string[], work: Work) => readonly string[];

/** Reads `decoder`. @returns the text of tokens; @throws CheckpointError for a component or an option that is not supported. */
export function readDecoder(value: unknown): (tokens: readonly string[]) => string {
  const steps = readComponents<Step>(
    value,
    { part: "decoder", sequence: "decoders" },
    {
      ByteLevel: readByteLevel,
      Metaspace: readMetaspace,
      WordPiece: readWordPiece,
      BPEDecoder: readBpeDecoder,
      ByteFallback: () => decodeByteRuns,
      Fuse: () => (tokens) => [tokens.join("")],
      Strip: readStrip,
      Replace: readReplace,
    },
  );
  return (tokens) => {
    const isPlain = value === undefined || value === null;
    const work = new Work(tokens.reduce((sum, { length }) => sum + length, 0));
    return steps.reduce((some, step) => step(some, work), tokens).join(isPlain ? " " : "");
  };
}

function readByteLevel(component: Component): Step {
  for (const name of ["add_prefix_space", "trim_offsets", "use_regex"]) component.boolean(name, true); // of encoding only
  const bytes = new Map(BYTE_CHARACTERS.map((character, byte) => [character, byte]));
  const encoder = new TextEncoder();
  return (tokens) => {
    const all = tokens.flatMap((token) => {
      const own = Array.from(token, (character) => bytes.get(character));
      const isOwn = own.every((byte) => byte !== undefined);
      return isOwn ? own : Array.from(encoder.encode(token));
    });
    return [new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(all))];
  };
}

function readMetaspace(component: Component): Step {
  const { replacement, scheme } = readMetaspaceOptions(component);
  component.boolean("split", true);
  return (tokens) =>
    tokens.map((token, index) => token.replaceAll(replacement, index === 0 && scheme !== "never" ? "" : " "));
}

function readWordPiece(component: Component): Step {
  const prefix = component.string("prefix");
  const cleansUp = component.boolean("cleanup");
  return (tokens) =>
    tokens.map((token, index) => {
      const text = index === 0 ? token : token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
      return cleansUp ? cleanUp(text) : text;
    });
}

/** Source: cleanup of src/decoders/wordpiece.rs. */
function cleanUp(text: string): string {
  return text
    .replace(/ ([.?!,])/g, "$1")
    .replaceAll(" ' ", "'")
    .replaceAll(" n't", "n't")
    .replaceAll(" 'm", "'m")
    .replaceAll(" do not", " don't")
    .replace(/ ('s|'ve|'re)/g, "$1");
}

function readBpeDecoder(component: Component): Step {
  const suffix = component.string("suffix");
  if (suffix === "") throw component.wrong("suffix", "a text that is not empty", suffix);
  return (tokens) => tokens.map((token, index) => token.replaceAll(suffix, index === tokens.length - 1 ? "" : " "));
}

/** As Rust's ByteFallback: each token of a byte run that is not UTF-8 gives one U+FFFD. */
function decodeByteRuns(tokens: readonly string[]): readonly string[] {
  const pieces: string[] = [];
  let run: number[] = [];
  const endRun = () => {
    if (run.length > 0) pieces.push(...decodeRun(run));
    run = [];
  };
  for (const token of tokens) {
    const byte = /^<0x([0-9A-Fa-f]{2}|\+[0-9A-Fa-f])>$/.exec(token)?.[1];
    if (byte !== undefined) {
      run.push(Number.parseInt(byte, 16));
    } else {
      endRun();
      pieces.push(token);
    }
  }
  endRun();
  return pieces;
}

function decodeRun(bytes: readonly number[]): readonly string[] {
  try {
    return [new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes))];
  } catch {
    return bytes.map(() => "\ufffd"); // not UTF-8: not an error, see above
  }
}

/** Most characters that a decoder strips: more than any token has. */
const MAX_STRIP = 2 ** 20;

function readStrip(component: Component): Step {
  const content = component.character("content");
  const start = component.count("start", { max: MAX_STRIP });
  const stop = component.count("stop", { max: MAX_STRIP });
  return (tokens) =>
    tokens.map((token) => {
      const characters = [...token];
      let from = 0;
      let to = characters.length;
      while (from < start && characters[from] === content) from++;
      while (characters.length - to < stop && characters[to - 1] === content) to--;
      return characters.slice(from, to).join("");
    });
}

function readReplace(component: Component): Step {
  const pattern = readPattern(component);
  const content = component.string("content");
  return (tokens, work) =>
    tokens.map((token) => {
      const found = token === "" ? [] : pattern.find(token, work);
      work.checkLength(lengthOfReplaced(token, found, content), component.where);
      return replaced(token, found, content);
    });
}

/** Most special tokens around a text. */
const MAX_FRAME = 64;

/** Reads `post_processor`. @throws CheckpointError for a component or an option that is not supported. */
export function readPostProcessor(value: unknown): (ids: readonly number[], addSpecialTokens: boolean) => number[] {
  type Frame = readonly (number | "text")[];
  const frames = readComponents<Frame | undefined>(
    value,
    { part: "post_processor", sequence: "processors" },
    {
      TemplateProcessing: readTemplate,
      ByteLevel: (component) => {
        for (const name of ["add_prefix_space", "trim_offsets", "use_regex"]) component.boolean(name, true); // of offsets only
        return undefined;
      },
      RobertaProcessing: (component) => {
        for (const name of ["add_prefix_space", "trim_offsets"]) component.boolean(name, true);
        return readClsAndSep(component);
      },
      BertProcessing: readClsAndSep,
    },
  ).filter((frame) => frame !== undefined);
  const [frame = ["text"], ...more] = frames;
  if (more.length > 0)
    throw refuse("post_processor", "has more than one component that adds special tokens: keep one.");
  return (ids, addSpecialTokens) =>
    frame.flatMap((piece) => (piece === "text" ? ids : addSpecialTokens ? [piece] : []));
}

function readClsAndSep(component: Component): readonly (number | "text")[] {
  const idOf = (name: string) => {
    const value = component.value(name);
    if (Array.isArray(value) && value.length === 2 && typeof value[0] === "string" && isId(value[1])) return value[1];
    throw component.wrong(name, "a token and its id", value);
  };
  return [idOf("cls"), "text", idOf("sep")];
}

function readTemplate(component: Component): readonly (number | "text")[] {
  const single = component.value("single");
  const specials = component.value("special_tokens");
  component.value("pair"); // of two texts, which are not encoded here
  if (!Array.isArray(single) || single.length > MAX_FRAME) {
    throw component.wrong("single", `a list of at most ${MAX_FRAME} pieces`, single);
  }
  if (!isObject(specials)) throw component.wrong("special_tokens", "an object", specials);
  return single.flatMap((piece: unknown): readonly (number | "text")[] => {
    const { SpecialToken: special, Sequence: sequence } = isObject(piece) ? piece : {};
    if (isObject(sequence) && sequence.id === "A") return ["text"];
    const name = isObject(special) ? special.id : undefined;
    const token = typeof name === "string" && Object.hasOwn(specials, name) ? specials[name] : undefined;
    const ids: unknown = isObject(token) ? token.ids : undefined;
    if (Array.isArray(ids) && ids.length <= MAX_FRAME && ids.every(isId)) return ids;
    throw component.wrong("single", "the sequence A and tokens of special_tokens with their ids", shown(piece));
  });
}

function isId(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0;
}
