// What the bench asks of an engine it is compared with. Any question may be answered with the reason why it cannot be run.

/** An answer, or why there is none, in one sentence. */
export type PeerAnswer<T> = ({ readonly ok: true } & T) | { readonly ok: false; readonly reason: string };

/** Which parts of a checkpoint a peer loads. */
export type PeerPart = "llama" | "vision";

/** Who a peer is. */
export interface PeerIdentity {
  /** For instance onnxruntime-webgpu. */
  readonly name: string;
  readonly version: string;
  /** What it computes on, in its own words. */
  readonly adapter: string;
  /** What is known to be wrong with its numbers here, a sentence each. */
  readonly caveats?: readonly string[];
}

/** What a peer can be asked, one question at a time; times are the peer's own, in ms. */
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
  /** Goes on greedily from the cache with `firstToken`. */
  decode(run: {
    readonly numTokens: number;
    readonly firstToken: number;
  }): Promise<PeerAnswer<{ readonly ms: number; readonly ids: readonly number[] }>>;
  /** One picture of random pixels through the vision tower. */
  vision(): Promise<PeerAnswer<{ readonly ms: number }>>;
  unload(): Promise<PeerAnswer<object>>;
  close(): Promise<void>;
}
