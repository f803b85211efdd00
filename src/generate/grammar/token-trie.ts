// A vocabulary's tokens by their bytes: those that begin alike share what they begin with.
import { at } from "../../errors.ts";

/** Tokens by their bytes. N nodes, in the order of a walk from the root into the depths; the root itself is none. */
export interface TokenTrie {
  /** Ids of the model's logits. */
  readonly vocabSize: number;
  /** The bytes of each token; undefined for one that is no text. */
  readonly bytes: readonly (Uint8Array | undefined)[];
  /** [N] the byte that a node adds */
  readonly byteOf: Uint8Array;
  /** [N] bytes before it */
  readonly depthOf: Uint16Array;
  /** [N] the node behind everything that begins with it */
  readonly endOf: Int32Array;
  /** [N] the token that ends here; −1 for none */
  readonly tokenOf: Int32Array;
  /** [V] another token of the same bytes; −1 for none */
  readonly sameAs: Int32Array;
}

/** Bytes of a token. Longer ones, runs of spaces say, are left out: others spell the same. */
const MAX_BYTES = 1024;

/** Builds the trie. @param tokens bytes by id; undefined and empty ones are left out */
export function tokenTrie(tokens: readonly (Uint8Array | undefined)[], vocabSize: number): TokenTrie {
  const bytes = Array.from({ length: vocabSize }, (_, id) => {
    const token = tokens[id];
    return token === undefined || token.length === 0 || token.length > MAX_BYTES ? undefined : token;
  });
  const order = bytes.flatMap((token, id) => (token === undefined ? [] : [{ token, id }]));
  order.sort((a, b) => compare(a.token, b.token));
  const [byteOf, depthOf, tokenOf, endOf]: [number[], number[], number[], number[]] = [[], [], [], []];
  const sameAs = new Int32Array(vocabSize).fill(-1);
  const path: number[] = []; // the nodes that lead to the last token
  const close = (depth: number) => {
    for (const node of path.splice(depth)) endOf[node] = byteOf.length;
  };
  for (const { token, id } of order) {
    let depth = 0;
    while (depth < path.length && depth < token.length && byteOf[at(path, depth)] === token[depth]) depth++;
    close(depth);
    for (; depth < token.length; depth++) {
      path.push(byteOf.length);
      byteOf.push(Number(token[depth]));
      depthOf.push(depth);
      tokenOf.push(-1);
      endOf.push(0);
    }
    const node = at(path, token.length - 1);
    sameAs[id] = at(tokenOf, node);
    tokenOf[node] = id;
  }
  close(0);
  return {
    vocabSize,
    bytes,
    byteOf: Uint8Array.from(byteOf),
    depthOf: Uint16Array.from(depthOf),
    endOf: Int32Array.from(endOf),
    tokenOf: Int32Array.from(tokenOf),
    sameAs,
  };
}

function compare(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index++) {
    const difference = Number(a[index]) - Number(b[index]);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}
