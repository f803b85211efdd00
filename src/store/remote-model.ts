// A model on a server, before any of it is kept: what it is called there, its files with sizes and hashes, and its licence. The server
// is a hub, which lists a repository's files, or any other with a folder in the same layout.

import { httpSource, parseBaseUrl } from "../checkpoint/http-source.ts";
import { hubFileOf, isCommit, nextPage } from "../checkpoint/hub/hub-file.ts";
import { isHubId } from "../checkpoint/hub/hub-id.ts";
import { neededFiles, SMALL_FILES, shardsOf } from "../checkpoint/hub/needed-files.ts";
import { asRecord, parseJsonFile, quote, readTextFile, type Source } from "../checkpoint/source.ts";
import { INDEX_FILE, SINGLE_FILE } from "../checkpoint/weight-files.ts";
import { AbortError, CheckpointError, InputError, isObject, throwIfAborted } from "../errors.ts";

/** The hub of ids without an address. */
export const HUB = "https://huggingface.co";

/** A file of a model on a server. */
export interface RemoteFile {
  /** Its path in the model's folder, with `/` between folders. */
  readonly path: string;
  readonly size: number;
  /** sha256 of its bytes (64 digits), or git's sha1 of them as a blob (40 digits), in hexadecimal; undefined where the server gives none. */
  readonly hash: string | undefined;
}

/** A model on a server; plain data. */
export interface RemoteModel {
  /** Its id on the hub, or its address. */
  readonly name: string;
  /** The address below which its files are, ending in a slash; of a hub with the commit, so that no file of it changes. */
  readonly address: string;
  /** The commit, of a model of a hub. */
  readonly commit: string | undefined;
  /** The address of the page about it, of a model of a hub. */
  readonly page: string | undefined;
  /** What the hub names as its licence, such as "apache-2.0"; undefined where it names none. */
  readonly licence: string | undefined;
  /** The files that are needed: configuration, tokenizer, processor and weights. */
  readonly files: readonly RemoteFile[];
}

/** How a server is asked. */
export interface RemoteOptions {
  /** Sent with every request to the model's server, such as `Authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The hub of ids. Default: {@link HUB}. */
  readonly hub?: string;
  /** Delays before a request is repeated after a temporary failure, in milliseconds. */
  readonly retryDelaysMs?: readonly number[];
  /** How long a server may send next to nothing before a request counts as failed, in milliseconds. */
  readonly stallTimeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** Delays before a request is repeated, in milliseconds: a minute in all, so that a download survives a change of networks. */
export const PATIENT_DELAYS_MS: readonly number[] = [500, 1000, 2000, 4000, 8000, 15_000, 30_000];

/** A user waits for these requests. */
const LOOK_UP_DELAYS_MS: readonly number[] = [500, 1500];
/** Lists of a repository have 1,000 entries a page. */
const MAX_PAGES = 100;

/** Bytes of all files of a model. */
export function downloadBytes({ files }: Pick<RemoteModel, "files">): number {
  return files.reduce((sum, { size }) => sum + size, 0);
}

/**
 * Finds a model on a server, from its id on the hub, the address of its page on a hub, or the address of a folder with its files.
 * @throws InputError for text that is none of them; CheckpointError for a model that is not there, cannot be had without an account, or has
 * no safetensors; AbortError.
 */
export async function findRemoteModel(text: string, options: RemoteOptions = {}): Promise<RemoteModel> {
  const given = text.trim();
  const { hub = HUB } = options;
  if (isHubId(given)) return hubModel(parseBaseUrl(hub).href, { id: given, revision: "main" }, options);
  if (!/^https?:\/\//i.test(given)) {
    throw new InputError(
      `Expected a model's id such as llava-hf/llava-1.5-7b-hf, or an address that begins with https://, got ${quote(given)}.`,
    );
  }
  const url = parseBaseUrl(given);
  const page = hubPageOf(url);
  const isHub = url.origin === parseBaseUrl(hub).origin;
  if (page !== undefined && isHub) return hubModel(`${url.origin}/`, page, options);
  const folder = `${url.origin}${url.pathname}`;
  const source = httpSource(folder, sourceOptions(options, LOOK_UP_DELAYS_MS));
  if ((await source.size("config.json", options.signal)) !== undefined) return folderModel(folder, source, options);
  // The page of a model on another hub.
  if (page !== undefined) return hubModel(`${url.origin}/`, page, options);
  throw new CheckpointError(`${folder} has no config.json: give the address of a folder with a model's files.`, {
    file: folder,
  });
}

/** The files of a model on its server, by ranges. */
export function remoteSource({ name, address, files }: RemoteModel, options: RemoteOptions = {}): Source {
  const source = httpSource(address, sourceOptions(options, PATIENT_DELAYS_MS));
  const sizes = new Map(files.map(({ path, size }) => [path, size]));
  return {
    name,
    size: async (path) => sizes.get(path),
    read: (path, start, end, signal = options.signal) => source.read(path, start, end, signal),
    close: async () => source.close?.(),
  };
}

function sourceOptions(options: RemoteOptions, delays: readonly number[]) {
  const { headers, retryDelaysMs = delays, stallTimeoutMs } = options;
  return {
    ...(headers !== undefined && { headers }),
    retryDelaysMs,
    ...(stallTimeoutMs !== undefined && { stallTimeoutMs }),
  };
}

/** A model on a hub: its id and a revision. */
interface HubPlace {
  readonly id: string;
  readonly revision: string;
}

/** The model that the address of a hub's page is about: `/owner/name`, or `/owner/name/tree/revision`. */
function hubPageOf({ pathname }: URL): HubPlace | undefined {
  const [owner = "", name = "", kind, ...rest] = pathname.split("/").filter((part) => part !== "");
  const id = `${owner}/${name}`;
  if (!isHubId(id)) return undefined;
  if (kind === undefined) return { id, revision: "main" };
  return kind === "tree" && rest.length > 0 ? { id, revision: decodeURIComponent(rest.join("/")) } : undefined;
}

/** @param base the hub's address, ending in a slash */
async function hubModel(base: string, { id, revision }: HubPlace, options: RemoteOptions): Promise<RemoteModel> {
  const api = `${base}api/models/${id}`;
  const about = await askHub(`${api}/revision/${encodeURIComponent(revision)}`, { id, revision }, options);
  const { sha, cardData, tags } = asRecord(about.value);
  if (typeof sha !== "string" || !isCommit(sha)) throw notAHub(base, id);
  const listed: RemoteFile[] = [];
  let next: string | undefined = `${api}/tree/${sha}?recursive=true&expand=false`;
  for (let page = 0; next !== undefined && page < MAX_PAGES; page++) {
    const answer: HubAnswer = await askHub(next, { id, revision }, options);
    if (!Array.isArray(answer.value)) throw notAHub(base, id);
    for (const entry of answer.value) {
      const file = hubFileOf(entry, id);
      if (file !== undefined) listed.push({ path: file.path, size: file.size, hash: file.etag });
    }
    next = answer.next;
  }
  const address = `${base}${id}/resolve/${sha}/`;
  const source = httpSource(address, sourceOptions(options, LOOK_UP_DELAYS_MS));
  const found = { name: base === parseBaseUrl(options.hub ?? HUB).href ? id : `${base}${id}`, source };
  return {
    name: found.name,
    address,
    commit: sha,
    page: `${base}${id}`,
    licence: licenceOf(cardData, tags),
    files: await needed(found, listed, options.signal),
  };
}

/** A model in a folder that no hub lists. Its files are found by their names, and have no hashes. */
async function folderModel(address: string, source: Source, { signal }: RemoteOptions): Promise<RemoteModel> {
  const listed: RemoteFile[] = [];
  const add = async (path: string) => {
    const size = await source.size(path, signal);
    if (size !== undefined) listed.push({ path, size, hash: undefined });
  };
  await Promise.all([...SMALL_FILES, SINGLE_FILE, INDEX_FILE].map(add));
  const hasShards = listed.some(({ path }) => path === INDEX_FILE) && !listed.some(({ path }) => path === SINGLE_FILE);
  if (hasShards) {
    const index = await indexOf(source, signal);
    const named = [...new Set(Object.values(asRecord(asRecord(parseJsonFile(index, INDEX_FILE)).weight_map)))];
    await Promise.all(named.map((path) => (typeof path === "string" ? add(path) : undefined)));
  }
  const files = await needed({ name: address, source }, listed, signal);
  return { name: address, address, commit: undefined, page: undefined, licence: undefined, files };
}

/** The files that a load needs, in the order in which they are downloaded: small ones first. */
async function needed(
  { name, source }: { readonly name: string; readonly source: Source },
  listed: readonly RemoteFile[],
  signal: AbortSignal | undefined,
): Promise<readonly RemoteFile[]> {
  const byPath = new Map(listed.map((file) => [file.path, file]));
  const paths = [...byPath.keys()];
  const { small, weights } = neededFiles(name, paths);
  const shards = weights === INDEX_FILE ? shardsOf(name, await indexOf(source, signal), paths) : [];
  const files = [...small, weights, ...shards].map((path) => byPath.get(path));
  return files.filter((file) => file !== undefined); // each is among the paths
}

async function indexOf(source: Source, signal: AbortSignal | undefined): Promise<string> {
  return (await readTextFile(source, INDEX_FILE, signal)) ?? "";
}

/** The licence that the hub shows: of the model's card, else of the tags. */
function licenceOf(cardData: unknown, tags: unknown): string | undefined {
  const { license, license_name } = asRecord(cardData);
  if (license === "other" && typeof license_name === "string") return license_name.slice(0, 100);
  if (typeof license === "string") return license.slice(0, 100);
  const tag: unknown = Array.isArray(tags)
    ? tags.find((each) => typeof each === "string" && each.startsWith("license:"))
    : undefined;
  return typeof tag === "string" ? tag.slice("license:".length, 100) : undefined;
}

/** What a hub answers. */
interface HubAnswer {
  readonly value: unknown;
  /** The address of the next page of a list. */
  readonly next: string | undefined;
}

/** @throws CheckpointError for a model that is not there, and when the hub cannot be reached; AbortError. */
async function askHub(url: string, { id, revision }: HubPlace, options: RemoteOptions): Promise<HubAnswer> {
  const { headers = {}, signal, retryDelaysMs = LOOK_UP_DELAYS_MS } = options;
  const { host } = new URL(url);
  for (let attempt = 0; ; attempt++) {
    throwIfAborted(signal, "Looking up the model");
    let reason: string;
    try {
      const response = await fetch(url, {
        headers: { ...headers, Accept: "application/json" },
        signal: signal ?? null,
      });
      const { status } = response;
      if (response.ok) {
        const next = nextPage(response.headers.get("link"));
        return {
          value: parseJsonFile(await response.text(), `The answer of ${host}`),
          next: next && new URL(next, url).href,
        };
      }
      // The hub says 401 of models that are not there, so as not to tell which are private.
      if (status === 401 || status === 403 || status === 404) throw notThere(host, { id, revision }, response);
      reason = `HTTP status ${status}`;
      const isTemporary = status === 408 || status === 429 || status >= 500;
      if (!isTemporary) throw new CheckpointError(`${host} refused to say what ${id} is (${reason}).`, { file: id });
    } catch (cause) {
      if (signal?.aborted) throw new AbortError("Looking up the model");
      if (cause instanceof CheckpointError) throw cause;
      reason = cause instanceof Error ? cause.message : String(cause);
    }
    const delayMs = retryDelaysMs[attempt];
    if (delayMs === undefined) {
      throw new CheckpointError(
        `${host} could not be asked about ${id} (${reason}): check the connection, and try again.`,
        {
          file: id,
        },
      );
    }
    await new Promise<void>((resolve) => setTimeout(resolve, delayMs));
  }
}

function notThere(host: string, { id, revision }: HubPlace, { status, headers }: Response): CheckpointError {
  const isGated = status === 403 || headers.get("x-error-code") === "GatedRepo";
  const message = isGated
    ? `${host} gives ${id} only to those who have accepted its terms: download it there, and open its folder.`
    : `${host} has no model ${id}${revision === "main" ? "" : ` at ${quote(revision)}`}, or only for its owner: check the id.`;
  return new CheckpointError(message, { file: id });
}

function notAHub(base: string, id: string): CheckpointError {
  const message = `${base} has no config.json below ${id}, and did not answer as a hub does: check the address.`;
  return new CheckpointError(message, { file: id });
}

/** Whether a value that was kept is a model as {@link findRemoteModel} gives it. */
export function isRemoteModel(value: unknown): value is RemoteModel {
  const { name, address, commit, page, licence, files } = asRecord(value);
  const isText = (each: unknown) => each === undefined || typeof each === "string";
  const isFile = (file: unknown) =>
    isObject(file) && typeof file.path === "string" && Number.isSafeInteger(file.size) && isText(file.hash);
  return (
    [name, address].every((each) => typeof each === "string") &&
    [commit, page, licence].every(isText) &&
    Array.isArray(files) &&
    files.every(isFile)
  );
}
