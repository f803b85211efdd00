// What tests take from app.mjs.

/** Writes the playground's static folder; dist/app unless `out` is given. */
export function buildApp(options?: {
  readonly out?: string;
  /** Makes a build differ from another of the same sources, for tests of the update. */
  readonly version?: string;
  /** Further servers that the page's policy lets it load models from. */
  readonly connect?: readonly string[];
}): Promise<{
  readonly out: string;
  /** Paths of all files in it. */
  readonly files: readonly string[];
  readonly version: string;
}>;

/** Serves the playground from the sources, on a free port unless one is given. */
export function serveApp(options?: {
  readonly port?: number | undefined;
}): Promise<{ readonly url: string; close(): Promise<void> }>;
