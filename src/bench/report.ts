// What a run of the bench found, as plain data: the content of --json, and all that the table and the plots show.
import type { KernelFigure } from "./kernels.ts";
import type { ModelFigures } from "./models.ts";
import type { PeerIdentity } from "./peer.ts";
import type { Ratio } from "./ratios.ts";
import type { Roofline } from "./roofline.ts";
import type { ScalingSeries } from "./scaling.ts";

/** Where and with what a run was made. */
export interface Stamp {
  /** ISO 8601 */
  readonly date: string;
  /** Commit of the checkout, with "+" behind it when files differ from it; null outside of a checkout. */
  readonly revision: string | null;
  readonly versions: Readonly<Record<string, string>>;
  readonly cpu: string;
  readonly numCpus: number;
  readonly memoryBytes: number;
  readonly platform: string;
  readonly adapter: {
    readonly kind: string;
    readonly isSoftware: boolean;
    readonly description: string;
    readonly info: Readonly<Record<string, string>>;
    readonly features: readonly string[];
    readonly limits: Readonly<Record<string, number>>;
  };
  readonly options: Readonly<Record<string, unknown>>;
}

/** Everything; parts that were not asked for are null. */
export interface BenchReport {
  readonly stamp: Stamp;
  readonly roofline: Roofline | null;
  readonly kernels: readonly KernelFigure[] | null;
  readonly models: readonly ModelFigures[] | null;
  readonly scaling: readonly ScalingSeries[] | null;
  /** Who ran beside us. */
  readonly peers: readonly PeerIdentity[];
  /** Peers that could not be started, and why. */
  readonly missingPeers: readonly { readonly file: string; readonly reason: string }[];
  readonly ratios: readonly Ratio[];
  /** Parts that failed, each with one sentence. */
  readonly failures: readonly { readonly part: string; readonly message: string }[];
  /** Seconds of each part. */
  readonly seconds: Readonly<Record<string, number>>;
}
