// Parts of the page whose script is fetched when they are first shown, so that the page is small until then.

import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";

/**
 * A component of a script of its own; nothing is shown while the script is on its way, and if it cannot be fetched, what to do.
 * @param fetchPart imports the component; called when it is first shown, and again after a failure
 */
export function deferred<P extends object>(fetchPart: () => Promise<ComponentType<P>>): ComponentType<P> {
  let fetched: ComponentType<P> | undefined;
  return function Deferred(props: P) {
    const [state, setState] = useState<"waiting" | "ready" | "failed">(fetched === undefined ? "waiting" : "ready");
    useEffect(() => {
      if (state !== "waiting") return;
      let isShown = true;
      fetchPart().then(
        (part) => {
          fetched = part;
          if (isShown) setState("ready");
        },
        () => isShown && setState("failed"),
      );
      return () => {
        isShown = false;
      };
    }, [state]);
    const Part = fetched;
    if (Part !== undefined) return <Part {...props} />;
    if (state !== "failed") return null;
    return (
      <p class="hint" role="alert">
        A part of the page could not be fetched.{" "}
        <button type="button" onClick={() => setState("waiting")}>
          Try again
        </button>
      </p>
    );
  };
}
