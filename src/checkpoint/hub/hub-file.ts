// What the hub says about a file of a repository, and what its names of commits and blobs look like.

import { CheckpointError, isObject, shown } from "../../errors.ts";
import { asRecord, checkPath } from "../source.ts";

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

const COMMIT = /^[0-9a-f]{40}$/;
/** Names of blobs become file names, so nothing else is accepted. */
const ETAG = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

/** Whether a revision is a full commit id, which never changes its meaning. */
export function isCommit(revision: string): boolean {
  return COMMIT.test(revision);
}

/** Whether text is the name of a blob. */
export function isEtag(text: string): boolean {
  return ETAG.test(text);
}

/**
 * The file of an entry in the hub's list; undefined for a folder.
 * @param id of the repository, for messages
 * @throws CheckpointError for a file without a valid path, size and hash.
 */
export function hubFileOf(entry: unknown, id: string): HubFile | undefined {
  const { type, path, size, oid, lfs, xetHash } = asRecord(entry);
  if (type !== "file") return undefined;
  const large = isObject(lfs) ? lfs : undefined;
  const etag = large?.oid ?? oid;
  const bytes = large?.size ?? size;
  const isWhole = typeof bytes === "number" && Number.isSafeInteger(bytes) && bytes >= 0;
  if (typeof path !== "string" || typeof oid !== "string" || typeof etag !== "string" || !isEtag(etag) || !isWhole) {
    throw new CheckpointError(
      `The hub lists a file of ${id} without a proper path, size and hash (${shown(path)}); check HF_ENDPOINT.`,
      { file: id },
    );
  }
  checkPath(path);
  return { path, size: bytes, etag, gitId: oid, ...(typeof xetHash === "string" && { xetHash }) };
}

/** The address of the next page of a list, from the Link header (RFC 8288); undefined for the last page. */
export function nextPage(link: string | null): string | undefined {
  return /<([^>]+)>;\s*rel="next"/.exec(link ?? "")?.[1];
}
