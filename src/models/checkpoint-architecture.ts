// The architecture of a checkpoint: what its config.json says, but for embeddings that it calls tied and that its files hold twice with
// other values.
import type { Checkpoint, CheckpointTensor } from "../checkpoint/checkpoint.ts";
import { asRecord } from "../checkpoint/source.ts";
import { InputError, isObject } from "../errors.ts";
import type { Architecture } from "./architecture.ts";
import { EMBED_TOKENS, LM_HEAD } from "./layers/decoder-weights.ts";
import { readArchitecture } from "./registry.ts";

/** Bytes of each table that are compared at once. */
const CHUNK_BYTES = 8 * 2 ** 20;

/**
 * Reads the architecture of an open checkpoint. As in transformers 5.23, embeddings are tied where config.json says so and the files have
 * no lm_head, or one that is equal to the token embeddings; where both are there, they are read and compared.
 * @throws CheckpointError as `readArchitecture`, and where a file cannot be read; AbortError.
 */
export async function architectureOf(checkpoint: Checkpoint, signal?: AbortSignal): Promise<Architecture> {
  const architecture = readArchitecture(checkpoint.config);
  if (!architecture.config.text.tieWordEmbeddings || !(await hasOtherHead(checkpoint, signal))) return architecture;
  const untied = { tie_word_embeddings: false };
  const text = asRecord(checkpoint.config.text_config);
  const isNested = isObject(checkpoint.config.text_config);
  return readArchitecture({
    ...checkpoint.config,
    ...untied,
    ...(isNested && { text_config: { ...text, ...untied } }),
  });
}

/**
 * The architecture for pictures of at most so many pixels once they are resized; as it is where `maxPicturePixels` is undefined.
 * @throws InputError for a family without such a setting, and for less than a block of patches.
 */
export function withMaxPicturePixels(architecture: Architecture, maxPicturePixels: number | undefined): Architecture {
  if (maxPicturePixels === undefined) return architecture;
  const pictures = architecture.pictures?.withMaxPixels?.(maxPicturePixels);
  if (pictures !== undefined) return { ...architecture, pictures };
  throw new InputError(
    "maxPicturePixels (--max-picture-pixels) is a setting of Qwen2-VL, Qwen2.5-VL and Qwen3-VL, which this checkpoint does not have: omit it.",
  );
}

async function hasOtherHead(checkpoint: Checkpoint, signal: AbortSignal | undefined): Promise<boolean> {
  const [embedding, head] = [EMBED_TOKENS, LM_HEAD].map((name) => checkpoint.tensors.get(name));
  if (embedding === undefined || head === undefined || isSameEntry(embedding, head)) return false;
  if (embedding.entry.dtype !== head.entry.dtype) return true;
  const numBytes = checkpoint.tensorBytes(EMBED_TOKENS);
  if (checkpoint.tensorBytes(LM_HEAD) !== numBytes) return true;
  for (let start = 0; start < numBytes; start += CHUNK_BYTES) {
    const range = { start, end: Math.min(start + CHUNK_BYTES, numBytes), signal };
    const [one, other] = await Promise.all([EMBED_TOKENS, LM_HEAD].map((name) => checkpoint.read(name, range)));
    if (one?.some((byte, index) => byte !== other?.[index])) return true;
  }
  return false;
}

/** Whether one is the alias of the other. */
function isSameEntry(one: CheckpointTensor, other: CheckpointTensor): boolean {
  return one.file === other.file && one.entry.start === other.entry.start;
}
