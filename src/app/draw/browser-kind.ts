// The reader's browser by its user-agent string. It decides only which advice is shown, never what the page does.

/** The browsers that are told different things. */
export const BROWSER_KINDS = ["chromium", "chromium-linux", "firefox", "safari"] as const;

/** A browser, with those of its kind. */
export type BrowserKind = (typeof BROWSER_KINDS)[number];

/**
 * The browser of a User-Agent header; undefined for others.
 * @param userAgent such as `navigator.userAgent`
 */
export function browserKind(userAgent: string): BrowserKind | undefined {
  // On iOS and iPadOS every browser is Safari underneath.
  if (/iPhone|iPad|iPod/.test(userAgent)) return "safari";
  if (/Firefox\//.test(userAgent)) return "firefox";
  if (/Chrom(e|ium)\//.test(userAgent)) {
    return /Linux/.test(userAgent) && !/Android/.test(userAgent) ? "chromium-linux" : "chromium";
  }
  return /Safari\//.test(userAgent) ? "safari" : undefined;
}
