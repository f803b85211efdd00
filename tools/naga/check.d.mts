// What tests take from check.mjs.

/** A pipeline to translate. */
export interface NagaPipeline {
  /** The kernel's name. */
  readonly name: string;
  /** Its WGSL. */
  readonly code: string;
  readonly constants: Readonly<Record<string, number | boolean>>;
}

/** A language and naga's message. */
export interface NagaMessage {
  readonly backend: string;
  readonly message: string;
}

/** What became of a pipeline. */
export interface NagaResult {
  readonly name: string;
  /** Whether a directive that naga does not know was taken out. */
  readonly hasUnknownDirective: boolean;
  readonly failures: readonly NagaMessage[];
  /** Languages in which it cannot be expressed. */
  readonly lacking: readonly NagaMessage[];
}

/** The version of the `naga` on the PATH; undefined where there is none. */
export function nagaVersion(): Promise<string | undefined>;

/** The programs on the PATH that check naga's output. */
export function outputValidators(): Promise<readonly string[]>;

/** A pipeline for every text of `kernels` that `pipelines` lack. */
export function pipelinesOfOtherTexts(
  kernels: readonly {
    readonly name: string;
    readonly code: string;
    readonly overrides: ReadonlyMap<string, { readonly type: string; readonly hasDefault: boolean }>;
  }[],
  pipelines: readonly NagaPipeline[],
): readonly NagaPipeline[];

/** Translates pipelines to MSL, HLSL, GLSL and SPIR-V. */
export function translate(
  pipelines: readonly NagaPipeline[],
  options?: { readonly validators?: readonly string[] },
): Promise<readonly NagaResult[]>;
