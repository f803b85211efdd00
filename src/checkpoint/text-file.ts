// The small text files of a checkpoint: config.json, tokenizer.json, the index, the chat template.

import { CheckpointError } from "../errors.ts";
import type { Source } from "./source.ts";

/** No text file of a checkpoint comes near; tokenizers of 250,000 entries take about 35 MB. */
const MAX_TEXT_BYTES = 128 * 1024 * 1024;

/**
 * The text of `path`, or undefined when there is no such file.
 * @throws CheckpointError when it is longer than 128 MiB or not UTF-8.
 * @throws AbortError when `signal` fires.
 */
export async function readTextFile(source: Source, path: string, signal?: AbortSignal): Promise<string | undefined> {
  const fileBytes = await source.size(path, signal);
  if (fileBytes === undefined) return undefined;
  if (fileBytes > MAX_TEXT_BYTES) {
    throw new CheckpointError(`${path} has ${fileBytes} bytes, expected at most ${MAX_TEXT_BYTES}; check the file.`, {
      file: path,
    });
  }
  const bytes = await source.read(path, 0, fileBytes, signal);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new CheckpointError(`${path} is not valid UTF-8; download the file again.`, { file: path, cause });
  }
}

/**
 * The value of the JSON text `text`, which is the content of `path`.
 * @throws CheckpointError when it is not JSON.
 */
export function parseJsonFile(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.replace(/\s+/g, " ") : String(cause);
    throw new CheckpointError(`${path} is not valid JSON (${reason}); download or write the file again.`, {
      file: path,
      cause,
    });
  }
}
