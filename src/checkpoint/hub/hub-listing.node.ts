// What the hub has under a model's id: the commit of a revision, and the files of a commit.

import { CheckpointError } from "../../errors.ts";
import { asRecord } from "../source.ts";
import { type HubFile, hubFileOf, isCommit, nextPage } from "./hub-file.ts";
import { bodyText, type HubRequest, type HubSubject, sendToHub } from "./hub-request.node.ts";
import type { HubSettings } from "./hub-settings.node.ts";

export { type HubFile, isCommit, isEtag } from "./hub-file.ts";

/** What a request needs besides its subject. */
export interface HubContext {
  readonly settings: HubSettings;
  readonly signal: AbortSignal | undefined;
  readonly onNote?: ((text: string) => void) | undefined;
}

const MAX_PAGES = 1000;
/** Far more than a page of a list. */
const MAX_ANSWER_BYTES = 64 * 2 ** 20;
/** A user waits for these requests, and has downloaded nothing yet. */
const MAX_RETRIES = 3;

/**
 * The commit that a revision (branch, tag, `refs/pr/1` or commit) is at now.
 * @throws CheckpointError when the hub refuses or cannot be reached; AbortError.
 */
export async function commitOf(id: string, revision: string, context: HubContext): Promise<string> {
  const { settings } = context;
  const subject = { id, revision };
  const url = `${settings.endpoint}/api/models/${id}/revision/${encodeURIComponent(revision)}`;
  const { value } = await json(url, subject, context);
  const { sha } = asRecord(value);
  if (typeof sha === "string" && isCommit(sha)) return sha;
  throw notTheHub(url, subject, "a commit");
}

/**
 * Every file of a commit, in the hub's order.
 * @throws CheckpointError when the hub refuses, cannot be reached or lists what cannot be; AbortError.
 */
export async function listFiles(id: string, commit: string, context: HubContext): Promise<readonly HubFile[]> {
  const { endpoint } = context.settings;
  const subject = { id, revision: commit };
  const files: HubFile[] = [];
  let url: string | undefined = `${endpoint}/api/models/${id}/tree/${commit}?recursive=true&expand=false`;
  for (let page = 0; url !== undefined && page < MAX_PAGES; page++) {
    const answer: { value: unknown; next: string | undefined } = await json(url, subject, context);
    if (!Array.isArray(answer.value)) throw notTheHub(url, subject, "a list of files");
    for (const entry of answer.value) {
      const file = hubFileOf(entry, id);
      if (file !== undefined) files.push(file);
    }
    if (answer.next !== undefined && !URL.canParse(answer.next, url)) {
      throw notTheHub(url, subject, "the address of the next page");
    }
    url = answer.next === undefined ? undefined : new URL(answer.next, url).href;
  }
  return files;
}

async function json(
  url: string,
  subject: HubSubject,
  context: HubContext,
): Promise<{ readonly value: unknown; readonly next: string | undefined }> {
  const { settings, signal, onNote } = context;
  const request: HubRequest = {
    url,
    subject,
    settings: { ...settings, retryDelaysMs: settings.retryDelaysMs.slice(0, MAX_RETRIES) },
    headers: { Accept: "application/json" },
    timeoutMs: settings.metadataTimeoutMs,
    signal,
    onNote,
  };
  return sendToHub(
    () => request,
    async ({ response }) => {
      const text = await bodyText(response, MAX_ANSWER_BYTES);
      if (text === undefined) throw notTheHub(url, subject, `an answer of at most ${MAX_ANSWER_BYTES} bytes`);
      const next = nextPage(response.headers.get("link"));
      try {
        return { value: JSON.parse(text), next };
      } catch {
        throw notTheHub(url, subject, "JSON");
      }
    },
  );
}

function notTheHub(url: string, { id }: HubSubject, wanted: string): CheckpointError {
  const { host } = new URL(url);
  return new CheckpointError(`${host} answered for ${id} with something other than ${wanted}; check HF_ENDPOINT.`, {
    file: id,
  });
}
