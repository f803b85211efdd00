// What the hub has under a model's id: the commit of a revision, and the files of a commit.

import { CheckpointError, isObject, shown } from "../../errors.ts";
import { readBody } from "../http-request.ts";
import { asRecord, checkPath } from "../source.ts";
import { type HubRequest, type HubSubject, sendToHub } from "./hub-request.node.ts";
import type { HubSettings } from "./hub-settings.node.ts";

/** Far more than a page of the list of files. */
const MAX_LISTING_BYTES = 64 * 2 ** 20;

/** A file of a repository. */
export interface HubFile {
  /** Its path in the repository, with `/` between folders. */
  readonly path: string;
  readonly size: number;
  /** The name of its blob: sha256 of a large file (LFS), git's sha1 of a small one; in hexadecimal. */
  readonly etag: string;
  /** The object id in git: for a large file that of its pointer. */
  readonly gitId: string;
  readonly xetHash?: string;
}

/** What a request needs besides its subject. */
export interface HubContext {
  readonly settings: HubSettings;
  readonly signal: AbortSignal | undefined;
  readonly onNote?: ((text: string) => void) | undefined;
}

const COMMIT = /^[0-9a-f]{40}$/;
/** Names of blobs become file names, so nothing else is accepted. */
const ETAG = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;
const MAX_PAGES = 1000;
/** A user waits for these requests, and has downloaded nothing yet. */
const MAX_RETRIES = 3;

/** Whether a revision is a full commit id, which never changes its meaning. */
export function isCommit(revision: string): boolean {
  return COMMIT.test(revision);
}

/** Whether text is the name of a blob. */
export function isEtag(text: string): boolean {
  return ETAG.test(text);
}

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
      const file = fileOf(entry, subject);
      if (file !== undefined) files.push(file);
    }
    if (answer.next !== undefined && !URL.canParse(answer.next, url)) {
      throw notTheHub(url, subject, "the address of the next page");
    }
    url = answer.next === undefined ? undefined : new URL(answer.next, url).href;
  }
  return files;
}

function fileOf(entry: unknown, subject: HubSubject): HubFile | undefined {
  const { type, path, size, oid, lfs, xetHash } = asRecord(entry);
  if (type !== "file") return undefined;
  const large = isObject(lfs) ? lfs : undefined;
  const etag = large?.oid ?? oid;
  const bytes = large?.size ?? size;
  const isWhole = typeof bytes === "number" && Number.isSafeInteger(bytes) && bytes >= 0;
  if (typeof path !== "string" || typeof oid !== "string" || typeof etag !== "string" || !isEtag(etag) || !isWhole) {
    throw new CheckpointError(
      `The hub lists a file of ${subject.id} without a proper path, size and hash (${shown(path)}); check HF_ENDPOINT.`,
      { file: subject.id },
    );
  }
  checkPath(path);
  return { path, size: bytes, etag, gitId: oid, ...(typeof xetHash === "string" && { xetHash }) };
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
      const bytes = await readBody(subject.id, response, { maxBytes: MAX_LISTING_BYTES });
      if (bytes === undefined) throw notTheHub(url, subject, "a list of files");
      const text = new TextDecoder().decode(bytes);
      const [, next] = /<([^>]+)>;\s*rel="next"/.exec(response.headers.get("link") ?? "") ?? [];
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
