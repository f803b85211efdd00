// Starts the engine's worker so that the page's Content-Security-Policy holds in it too, also on hosts that send no headers.
//
// A worker from an address has the policy of its own response, and a policy in a page's <meta> does not reach it. A worker from a
// blob has the policy of the page. So the worker is a blob that imports the file, unless the file comes with a policy.
import { scriptUrl } from "./script-url.ts";

/**
 * Starts the worker that the build writes beside the page.
 * @param file its name relative to the page
 */
export async function startWorker(file: string): Promise<Worker> {
  const { href } = new URL(file, document.baseURI);
  if (!(await comesWithPolicy(href))) {
    // A classic script, since Chromium starts no module from a blob in a frame with an opaque origin.
    const code = `import(${JSON.stringify(href)}).catch((error) => setTimeout(() => { throw error; }));`;
    const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    try {
      const worker = new Worker(scriptUrl(url));
      if (await starts(worker)) return worker;
      worker.terminate();
    } catch {
      // Some browsers throw where the host's policy has no blob: in worker-src.
    } finally {
      URL.revokeObjectURL(url);
    }
  }
  // A host's policy without blob: in worker-src has refused the blob.
  return new Worker(scriptUrl(href), { type: "module" });
}

/** Whether the response has a policy that limits where requests go. */
async function comesWithPolicy(url: string): Promise<boolean> {
  // The service worker answers GET only; without one, the headers are enough.
  const method = navigatorServiceWorker()?.controller ? "GET" : "HEAD";
  const response = await fetch(url, { method }).catch(() => undefined);
  return /(?:^|[;,\s])(?:connect|default)-src\s/.test(response?.headers.get("content-security-policy") ?? "");
}

/** Whether a worker runs, which it says by its first message; false when its script is refused or fails. */
function starts(worker: Worker): Promise<boolean> {
  return new Promise((resolve) => {
    worker.addEventListener("message", () => resolve(true), { once: true });
    worker.addEventListener(
      "error",
      (event) => {
        event.preventDefault();
        resolve(false);
      },
      { once: true },
    );
  });
}

/** The browser's service workers; undefined where it has none, or refuses them to a sandboxed frame by throwing. */
export function navigatorServiceWorker(): ServiceWorkerContainer | undefined {
  try {
    return "serviceWorker" in navigator ? navigator.serviceWorker : undefined;
  } catch {
    return undefined;
  }
}
