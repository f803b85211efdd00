// Where the hub is, where its cache is, and who asks: the environment variables that Python's huggingface_hub reads.
// Source: huggingface_hub 2.4.0, constants.py and utils/_auth.py.

import { tmpdir } from "node:os";
import { join } from "node:path";
import { CheckpointError } from "../../errors.ts";
import { homeFolder } from "../../gpu/hosts/user-folders.node.ts";
import { readFileTextSync } from "../read-file.node.ts";
import { quote } from "../source.ts";

/** An access token, and where it was found, for messages. */
export interface HubToken {
  readonly value: string;
  /** Such as "HF_TOKEN" or the path of the token file. */
  readonly from: string;
}

/** How the hub and its cache are used. */
export interface HubSettings {
  /** The hub's address without a slash at its end. */
  readonly endpoint: string;
  /** The folder that holds one folder per repository. */
  readonly cacheFolder: string;
  readonly token: HubToken | undefined;
  /** No request is made. */
  readonly isOffline: boolean;
  /** Snapshots hold files instead of links. */
  readonly noSymlinks: boolean;
  readonly hideProgress: boolean;
  /** How long a request for metadata may take, in milliseconds. */
  readonly metadataTimeoutMs: number;
  /** How long a download may be silent, in milliseconds. */
  readonly stallTimeoutMs: number;
  /** Delays before a failed request is sent again, in milliseconds. */
  readonly retryDelaysMs: readonly number[];
}

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

const DEFAULT_ENDPOINT = "https://huggingface.co";
const DEFAULT_TIMEOUT_S = 10;
const RETRY_DELAYS_MS = [1000, 2000, 4000, 8000, 8000];

/**
 * Reads the settings from environment variables.
 * @param given settings that replace the environment's; a token here is sent even where HF_HUB_DISABLE_IMPLICIT_TOKEN is set
 * @throws CheckpointError for an address, a number or a token that cannot be used.
 */
export function readHubSettings(
  environment: Environment = process.env,
  given: { readonly token?: string | undefined; readonly cacheFolder?: string | undefined } = {},
): HubSettings {
  const home = hubHome(environment);
  const cache = given.cacheFolder ?? (environment.HF_HUB_CACHE || environment.HUGGINGFACE_HUB_CACHE);
  const isOn = (...names: readonly string[]) => names.some((name) => isTrue(environment[name]));
  return {
    endpoint: readEndpoint(environment.HF_ENDPOINT || DEFAULT_ENDPOINT),
    cacheFolder: cache ? expandPath(cache, environment) : join(home, "hub"),
    token: given.token === undefined ? implicitToken(environment, home) : checkToken(given.token, "the option token"),
    isOffline: isOn("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"),
    noSymlinks: isOn("HF_HUB_DISABLE_SYMLINKS"),
    hideProgress: isOn("HF_HUB_DISABLE_PROGRESS_BARS"),
    metadataTimeoutMs: milliseconds(environment, "HF_HUB_ETAG_TIMEOUT"),
    stallTimeoutMs: milliseconds(environment, "HF_HUB_DOWNLOAD_TIMEOUT"),
    retryDelaysMs: RETRY_DELAYS_MS,
  };
}

/** A path with a leading `~` and with `$NAME` and `${NAME}` replaced; unknown names stay, as in Python. */
export function expandPath(path: string, environment: Environment): string {
  const home = environment.HOME || (homeFolder() ?? tmpdir());
  return path
    .replace(/^~(?=[\\/]|$)/, () => home)
    .replace(/\$(?:(\w+)|\{([^}]+)\})/g, (whole, plain, braced) => environment[plain ?? braced] ?? whole);
}

function hubHome(environment: Environment): string {
  if (environment.HF_HOME) return expandPath(environment.HF_HOME, environment);
  const caches = environment.XDG_CACHE_HOME || join("~", ".cache");
  return join(expandPath(caches, environment), "huggingface");
}

function isTrue(value: string | undefined): boolean {
  return value !== undefined && /^(1|on|yes|true)$/i.test(value);
}

function readEndpoint(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol)) return text.replace(/\/+$/, "");
  throw new CheckpointError(`HF_ENDPOINT must be an http or https address, got ${quote(text)}; correct or unset it.`, {
    file: "HF_ENDPOINT",
  });
}

function milliseconds(environment: Environment, name: string): number {
  const text = environment[name] || String(DEFAULT_TIMEOUT_S);
  const seconds = Number(text);
  if (seconds > 0 && seconds < 2 ** 31 / 1000) return seconds * 1000;
  throw new CheckpointError(`${name} must be a number of seconds above 0, got ${quote(text)}; correct or unset it.`, {
    file: name,
  });
}

function implicitToken(environment: Environment, home: string): HubToken | undefined {
  if (isTrue(environment.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return undefined;
  for (const name of ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]) {
    const value = environment[name]?.trim();
    if (value) return checkToken(value, name);
  }
  const path = environment.HF_TOKEN_PATH;
  const file = path ? expandPath(path, environment) : join(home, "token");
  let text: string;
  try {
    text = readFileTextSync(file).trim();
  } catch {
    return undefined; // no token, as for Python
  }
  return text === "" ? undefined : checkToken(text, file);
}

function checkToken(value: string, from: string): HubToken {
  // Any other character cannot be sent in a header; the message must not show the token.
  if (/^[\x21-\x7e]+$/.test(value)) return { value, from };
  throw new CheckpointError(`The token in ${from} holds characters that no token has; copy it again, or remove it.`, {
    file: from,
  });
}
