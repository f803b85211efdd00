// What the driver gives its worker, and the lines that come back.

/** What a worker runs. */
export interface WorkerJob {
  readonly kind: string;
  readonly seed?: number;
  readonly start: number;
  readonly end?: number;
  /** Corpus files in place of a seed's inputs. */
  readonly cases?: readonly string[];
  /** Only prints the input at `start`. */
  readonly show?: boolean;
}

/** A line: of an input that begins (the index alone), that ended, or that is shown. */
export interface WorkerLine {
  readonly index: number;
  readonly input?: unknown;
  readonly outcome?: string;
  readonly ms?: number;
  readonly cpuMs?: number;
  /** By how much the process' highest memory grew. */
  readonly grownBytes?: number;
  readonly messageLength?: number;
  /** Whether it took more CPU time than it may. */
  readonly isSlow?: boolean;
  /** What must not happen, in a few words. */
  readonly finding?: string;
  readonly text?: string;
}

/** Memory that one input may take: none of them is larger than a few KB. */
export const MEMORY_BOUND_BYTES = 256 * 2 ** 20;

/** CPU time that one input may take unless its kind says otherwise. */
export const TIME_BOUND_MS = 5000;
