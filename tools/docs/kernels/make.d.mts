/** See make.mjs. */
export function writeKernelPages(outFolder: string): Promise<readonly string[]>;
export function kernelHead(base: string): readonly [string, Readonly<Record<string, string>>][];
export function kernelSidebar(): readonly {
  readonly text: string;
  readonly link?: string;
  readonly items?: readonly object[];
}[];
