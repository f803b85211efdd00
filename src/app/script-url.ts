// The page's only Trusted Types policy. Under `require-trusted-types-for 'script'` browsers take the addresses of workers only from
// a policy, and `trusted-types adaptvis` allows this one alone.
// Spec: https://www.w3.org/TR/trusted-types/

/** What the page uses of the browser's `trustedTypes`, which TypeScript's library does not declare. */
interface TrustedTypes {
  createPolicy(
    name: string,
    rules: { readonly createScriptURL: (url: string) => string },
  ): { createScriptURL(url: string): string }; // a TrustedScriptURL, which the DOM takes wherever it takes a string
}

let policy: ReturnType<TrustedTypes["createPolicy"]> | undefined;

/**
 * The address of a script in the form that the page's policy demands.
 * @param url of a file of the page's own server, or of a blob that the page made
 * @throws TypeError for another server's address, and where the host's policy does not allow the name `adaptvis`.
 */
export function scriptUrl(url: string): string {
  const { trustedTypes }: { readonly trustedTypes?: TrustedTypes } = globalThis as object; // absent in older browsers
  if (trustedTypes === undefined) return ownScript(url);
  policy ??= ownPolicy(trustedTypes);
  return policy.createScriptURL(url);
}

function ownPolicy(trustedTypes: TrustedTypes): ReturnType<TrustedTypes["createPolicy"]> {
  try {
    return trustedTypes.createPolicy("adaptvis", { createScriptURL: ownScript });
  } catch (cause) {
    const message =
      "this host's Content-Security-Policy does not allow the page's Trusted Types policy: add adaptvis to its trusted-types.";
    throw new TypeError(message, { cause });
  }
}

function ownScript(url: string): string {
  const { protocol, host } = new URL(url, document.baseURI);
  const page = new URL(document.baseURI);
  if (protocol === "blob:" || (protocol === page.protocol && host === page.host)) return url;
  throw new TypeError(`A script of the page has to come from ${page.host}, got ${host}.`);
}
