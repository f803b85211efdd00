/** The address of a worker's script beside this one, through a policy where the page demands Trusted Types. */
export function workerUrl(file: string): string {
  const { href } = new URL(file, import.meta.url);
  const { trustedTypes }: { trustedTypes?: TrustedTypes } = globalThis as object; // TypeScript's library lacks it
  return trustedTypes?.createPolicy("adaptvis", { createScriptURL: () => href }).createScriptURL(href) ?? href;
}

interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL: () => string }): { createScriptURL(url: string): string };
}
