// Packages that are installed by those who need them: the library's optional peers.

/**
 * Whether an import failed because the package itself is not installed, rather than that it cannot be loaded here.
 * @param cause what the import threw
 */
export function isMissingPackage(cause: unknown, name: string): boolean {
  if (!(cause instanceof Error)) return false;
  const { code }: { readonly code?: unknown } = cause as object;
  const isNotFound = code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND";
  // Node: Cannot find package 'webgpu' imported from …
  return isNotFound && new RegExp(`(package|module) ['"]${name}[/'"]`).test(cause.message);
}
