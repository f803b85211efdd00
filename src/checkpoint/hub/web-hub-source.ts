// A model on Hugging Face's hub, read where there are no files to keep it in: by ranges, over HTTP, without a cache of its own.

import { CheckpointError, InputError, shown } from "../../errors.ts";
import { checkedText, readOptions, type Schema, text } from "../../options.ts";
import { fetchRange, readBody } from "../http-request.ts";
import { httpSource, parseBaseUrl, RETRY_DELAYS_MS, WAITING } from "../http-source.ts";
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
  /** As of `httpSource`. */
  readonly retryDelaysMs?: readonly number[];
  /** As of `httpSource`. */
  readonly stallTimeoutMs?: number;
}

const HUB_SOURCE: Schema<WebHubSourceOptions> = { revision: text, token: text, endpoint: text, ...WAITING };

/** Far more than the hub's answer about a model, which lists its files. */
const MAX_ANSWER_BYTES = 64 * 2 ** 20;

/**
 * A source over a model on Hugging Face's hub, whose files are read by ranges. Its first use asks for the revision's commit, so that
 * all files are of one commit.
 * @param id such as "llava-hf/llava-1.5-7b-hf"
 * @throws InputError for an id or endpoint that cannot be, at once; CheckpointError, when it is used, for a model or revision that the hub does not
 * have, or shows only with a token.
 */
export function webHubSource(id: string, options: WebHubSourceOptions = {}): Source {
  const asked = readOptions("hubSource", options, HUB_SOURCE);
  if (!isHubId(checkedText("id", id))) {
    throw new InputError(`hubSource: expected an id such as "llava-hf/llava-1.5-7b-hf", got ${quote(id)}.`);
  }
  const { revision = "main", token, endpoint = "https://huggingface.co" } = asked;
  const { retryDelaysMs = RETRY_DELAYS_MS, stallTimeoutMs } = asked;
  const headers: Readonly<Record<string, string>> = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  const base = parseBaseUrl(endpoint).href.replace(/\/+$/, "");

  async function openCommit(signal: AbortSignal | undefined): Promise<Source> {
    const name = `${id} at ${revision}`;
    const url = `${base}/api/models/${id}/revision/${encodeURIComponent(revision)}`;
    const range = { start: 0, end: MAX_ANSWER_BYTES, retryDelaysMs, stallTimeoutMs, signal };
    const answer = await fetchRange(
      { path: id, url, shownUrl: url, headers, ...range },
      async (response, onBytes) => response && readBody(id, response, { maxBytes: MAX_ANSWER_BYTES, onBytes }),
    );
    if (answer === undefined) {
      throw new CheckpointError(`${name} is not on ${base}; check the id and the revision.`, { file: id });
    }
    const { sha } = asRecord(parseJsonFile(new TextDecoder().decode(answer), name));
    if (typeof sha !== "string" || !/^[0-9a-f]{40}$/.test(sha)) {
      throw new CheckpointError(`${name}: expected a commit as sha in the answer of ${base}, got ${shown(sha)}.`, {
        file: id,
      });
    }
    return httpSource(`${base}/${id}/resolve/${sha}`, {
      headers,
      retryDelaysMs,
      ...(stallTimeoutMs !== undefined && { stallTimeoutMs }),
    });
  }

  return lazySource(id, openCommit);
}
