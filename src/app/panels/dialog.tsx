// A dialog over the page: it takes the focus, Escape and a press beside it close it, and the focus goes back to where it was.

import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";

/** A dialog that is open as long as it is rendered. */
export function Dialog(props: {
  readonly title: string;
  readonly onClose: () => void;
  /** Handles keys, wherever in the dialog the focus is. */
  readonly onKey?: (event: KeyboardEvent) => void;
  readonly children: ComponentChildren;
}) {
  const { title, onClose, onKey, children } = props;
  const id = useId();
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => dialog.current?.showModal(), []);
  useLayoutEffect(() => {
    const { current } = dialog;
    if (current === null) return;
    const listeners = new AbortController();
    const { signal } = listeners;
    // A press on the backdrop is one on the dialog itself; the body covers the rest of it.
    current.addEventListener("click", ({ target }) => target === current && current.close(), { signal });
    if (onKey !== undefined) current.addEventListener("keydown", onKey, { signal });
    return () => listeners.abort();
  }, [onKey]);
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby={id} onClose={onClose}>
      <div class="dialog-body">
        <div class="dialog-head">
          <h2 id={id}>{title}</h2>
          <button type="button" onClick={() => dialog.current?.close()}>
            Close
          </button>
        </div>
        {children}
      </div>
    </dialog>
  );
}
