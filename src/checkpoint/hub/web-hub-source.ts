// A model on Hugging Face's hub, read where there are no files to keep it in: by ranges, over HTTP, without a cache of its own.

import { CheckpointError, InputError, shown } from "../../errors.ts";
import { DEFAULT_TIMEOUT_MS, fetchRange } from "../http-request.ts";
import { httpSource, RETRY_DELAYS_MS, readBody } from "../http-source.ts";
import { lazySource } from "../lazy-source.ts";
import { asRecord, parseJsonFile, quote, type Source } from "../source.ts";
import { isHubId } from "./hub-id.ts";

/** Options of a source that reads from the hub without a cache. */
export interface WebHubSourceOptions {
  /** Branch, tag, `refs/pr/1` or commit. Default: main. */
  readonly revision?: string;
  /** An access token. None is sent by default. */
  readonly token?: string;
  /** Address of the hub. Default: https://huggingface.co. */
  readonly endpoint?: string;
  /** Delays before a request is repeated after a temporary failure, in milliseconds; two retries by default. */
  readonly retryDelaysMs?: readonly number[];
  /** How long the hub may send nothing before that counts as a temporary failure, in milliseconds; 30,000 by default. */
  readonly timeoutMs?: number;
}

/** Far more than the hub's answer about a model, which lists its files. */
const MAX_ANSWER_BYTES = 64 * 2 ** 20;

/**
 * A source over a model on Hugging Face's hub, whose files are read by ranges. Its first use asks for the revision's commit, so that
 * all files are of one commit.
 * @param id such as "llava-hf/llava-1.5-7b-hf"
 * @throws InputError for an id that cannot be, at once; CheckpointError, when it is used, for a model or revision that the hub does not
 * have, or shows only with a token.
 */
export function webHubSource(id: string, options: WebHubSourceOptions = {}): Source {
  if (!isHubId(id)) {
    throw new InputError(`hubSource: expected an id such as "llava-hf/llava-1.5-7b-hf", got ${quote(id)}.`);
  }
  const { revision = "main", token, endpoint = "https://huggingface.co" } = options;
  const { retryDelaysMs = RETRY_DELAYS_MS, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const headers: Readonly<Record<string, string>> = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  const base = endpoint.replace(/\/+$/, "");

  async function openCommit(signal: AbortSignal | undefined): Promise<Source> {
    const name = `${id} at ${revision}`;
    const url = `${base}/api/models/${id}/revision/${encodeURIComponent(revision)}`;
    const range = { start: 0, end: MAX_ANSWER_BYTES, retryDelaysMs, timeoutMs, signal };
    const text = await fetchRange({ path: id, url, shownUrl: url, headers, ...range }, async (response, touch) => {
      if (response === undefined) return undefined;
      const bytes = await readBody(id, response, { maxBytes: MAX_ANSWER_BYTES, touch });
      // What is too long becomes a text that is not JSON.
      return new TextDecoder().decode(bytes);
    });
    if (text === undefined) {
      throw new CheckpointError(`${name} is not on ${base}; check the id and the revision.`, { file: id });
    }
    const { sha } = asRecord(parseJsonFile(text, name));
    if (typeof sha !== "string" || !/^[0-9a-f]{40}$/.test(sha)) {
      const message = `${name}: expected a commit as sha in the answer of ${base}, got ${shown(sha)}.`;
      throw new CheckpointError(message, { file: id });
    }
    return httpSource(`${base}/${id}/resolve/${sha}`, { headers, retryDelaysMs, timeoutMs });
  }

  return lazySource(id, openCommit);
}
