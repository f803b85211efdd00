/** WGSL files are imported as their text (esbuild's and vitest's text loaders). */
declare module "*.wgsl" {
  const text: string;
  export default text;
}
