// A model on the hub that is looked at and not downloaded: its small files and the headers of its weights, read by ranges.

import { stat } from "node:fs/promises";
import { CheckpointError } from "../../errors.ts";
import { fileSource } from "../file-source.node.ts";
import { checkPath, checkRange, missingFile, type Source, shortFile } from "../source.ts";
import { INDEX_FILE } from "../weight-files.ts";
import { cachedSnapshot } from "./cached-models.node.ts";
import { repoCache } from "./hub-cache.node.ts";
import { isHubId } from "./hub-id.ts";
import { commitOf, type HubContext, type HubFile, isCommit, listFiles } from "./hub-listing.node.ts";
import { type HubRequest, sendToHub } from "./hub-request.node.ts";
import { readHubSettings } from "./hub-settings.node.ts";
import { neededFiles, shardsOf } from "./needed-files.ts";
import { checkRevision, DEFAULT_REVISION, type PullOptions } from "./pull.node.ts";
import { resolveModel } from "./resolve-model.node.ts";

/** A model that can be looked at. */
export interface ModelView {
  readonly source: Source;
  /** The id on the hub, or the folder's path as it was given. */
  readonly name: string;
  /** The commit, of a model of the hub. */
  readonly commit: string | undefined;
  /** Bytes that loading the model downloads first; 0 of one on this machine. */
  readonly downloadBytes: number;
}

/** A server that does not send ranges of files: its models can be downloaded, and not looked at before. */
export class NoRangesError extends CheckpointError {}

/**
 * Opens a model for a look at its headers: a folder, or a complete copy in the hub's cache, as it is; another id by ranges of its
 * files on the hub, of which nothing is kept.
 * @throws as `resolveModel`; reads of a source by ranges throw {@link NoRangesError} where the server has none.
 */
export async function viewModel(
  text: string,
  options: Pick<PullOptions, "revision" | "settings" | "signal" | "onNote"> = {},
): Promise<ModelView> {
  const { settings = readHubSettings(), signal, onNote } = options;
  const exists = (await stat(text).catch(() => undefined)) !== undefined;
  if (!exists && isHubId(text) && !settings.isOffline) {
    const revision = checkRevision(options.revision ?? DEFAULT_REVISION);
    const context = { settings, signal, onNote };
    const commit = isCommit(revision) ? revision : await commitOf(text, revision, context);
    const cached = await cachedSnapshot(repoCache(text, settings), commit);
    if (cached === undefined || cached.lacks.length > 0) return viewRemote(text, commit, context);
    return { source: fileSource(cached.folder), name: text, commit, downloadBytes: 0 };
  }
  const { folder, name, commit } = await resolveModel(text, options);
  return { source: fileSource(folder), name, commit, downloadBytes: 0 };
}

async function viewRemote(id: string, commit: string, context: HubContext): Promise<ModelView> {
  const listing = await listFiles(id, commit, context);
  const source = remoteSource(id, { commit, listing, context });
  const paths = listing.map(({ path }) => path);
  const { small, weights } = neededFiles(id, paths);
  const needed = new Set([...small, weights]);
  if (weights === INDEX_FILE) {
    const end = (await source.size(INDEX_FILE)) ?? 0;
    const index = new TextDecoder().decode(await source.read(INDEX_FILE, 0, end, context.signal));
    for (const shard of shardsOf(id, index, paths)) needed.add(shard);
  }
  const downloadBytes = listing.reduce((sum, { path, size }) => sum + (needed.has(path) ? size : 0), 0);
  return { source, name: id, commit, downloadBytes };
}

/** The files of one commit on the hub, by ranges. */
function remoteSource(
  id: string,
  from: { readonly commit: string; readonly listing: readonly HubFile[]; readonly context: HubContext },
): Source {
  const { commit, context } = from;
  const sizes = new Map(from.listing.map(({ path, size }) => [path, size]));
  return {
    name: id,
    async size(path) {
      checkPath(path);
      return sizes.get(path);
    },
    async read(path, start, end, signal = context.signal) {
      checkPath(path);
      checkRange(path, start, end);
      const size = sizes.get(path);
      if (size === undefined) throw missingFile(path, id);
      if (end > size) throw shortFile(path, end, size);
      if (start === end) return new Uint8Array(0);
      const { settings, onNote } = context;
      const request: HubRequest = {
        url: `${settings.endpoint}/${id}/resolve/${commit}/${path.split("/").map(encodeURIComponent).join("/")}`,
        subject: { id, revision: commit, path },
        settings,
        headers: { "Accept-Encoding": "identity", Range: `bytes=${start}-${end - 1}` },
        timeoutMs: settings.stallTimeoutMs,
        signal,
        onNote,
      };
      return sendToHub(
        () => request,
        async ({ response }) => readRange(response, { path, start, end, size }),
      );
    },
  };
}

/** The bytes of a response to a request for a range. @throws NoRangesError for another range. */
async function readRange(
  response: Response,
  range: { readonly path: string; readonly start: number; readonly end: number; readonly size: number },
): Promise<Uint8Array<ArrayBuffer>> {
  const { path, start, end, size } = range;
  const { status, headers } = response;
  const got = status === 206 ? (headers.get("content-range") ?? "no Content-Range") : `status ${status}`;
  // The whole file is an answer to a request for all of it.
  if (got !== `bytes ${start}-${end - 1}/${size}` && !(status === 200 && start === 0 && end === size)) {
    throw new NoRangesError(
      `${path} cannot be read in ranges: asked for bytes from ${start} to ${end - 1} of ${size}, the server sent ${got}; check HF_ENDPOINT and proxies.`,
      { file: path },
    );
  }
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (bytes.length === end - start) return bytes;
  throw new Error(`the file broke off at byte ${start + bytes.length} of ${size}`); // sent again
}
