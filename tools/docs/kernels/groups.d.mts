/** What a kernel's page needs beside the sources. */
export interface KernelEntry {
  /** Names of BOUNDS in test/setup/bounds.ts, or "linear" for linearBound; empty where the test compares exactly. */
  readonly bounds: readonly string[];
  /** When it runs, for kernels that a plain question does not run; the passes of the others are recorded. */
  readonly where?: string;
  /** What the reader's GPU must have for a live run. */
  readonly needs?: string;
  /** The case that the live run begins with; the first one unless given. */
  readonly liveCase?: string;
}

/** The kernels in the order in which a forward pass runs them. */
export const GROUPS: readonly {
  readonly title: string;
  readonly text: string;
  readonly again?: readonly string[];
  readonly kernels: Readonly<Record<string, KernelEntry>>;
}[];

/** Every kernel's entry by name, in that order. */
export const ENTRIES: ReadonlyMap<string, KernelEntry>;
