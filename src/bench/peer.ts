// The requests that the bench sends to an engine that it is compared with. Each may be answered with the reason why it cannot run.

/** An answer, or the reason for its absence in one sentence. */
export type PeerAnswer<T> = ({ readonly ok: true } & T) | { readonly ok: false; readonly reason: string };

/** Which parts of a checkpoint a peer loads. */
export type PeerPart = "llama" | "vision";

/** A peer's identity. */
export interface PeerIdentity {
  /** For instance onnxruntime-webgpu. */
  readonly name: string;
  readonly version: string;
  /** Its own description of the device. */
  readonly adapter: string;
  /** Known problems of its numbers on this machine, one sentence each. */
  readonly caveats?: readonly string[];
}

/** The requests to a peer, one at a time; times are measured by the peer, in ms. */
export interface PeerClient {
  readonly identity: PeerIdentity;
  load(model: {
    readonly dir: string;
    readonly dtype: string;
    readonly parts: readonly PeerPart[];
    readonly maxPositions: number;
  }): Promise<PeerAnswer<{ readonly ms: number }>>;
  /** Runs a prompt from an empty cache; `argmax` is the next token's id. */
  prefill(ids: readonly number[]): Promise<PeerAnswer<{ readonly ms: number; readonly argmax: number }>>;
  /** Continues greedily from the cache with `firstToken`. */
  decode(run: {
    readonly numTokens: number;
    readonly firstToken: number;
  }): Promise<PeerAnswer<{ readonly ms: number; readonly ids: readonly number[] }>>;
  /** One picture of random pixels through the vision tower. */
  vision(): Promise<PeerAnswer<{ readonly ms: number }>>;
  unload(): Promise<PeerAnswer<object>>;
  close(): Promise<void>;
}
