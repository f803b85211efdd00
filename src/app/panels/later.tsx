// Panels that come after the first answer: their script is fetched then, so that the page is small until it is needed.
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { recorded } from "../recorded.ts";
import { asked, notify } from "../state.ts";

type Workshop = typeof import("./workshop.tsx");

const workshop = signal<Workshop | undefined>(undefined);
let isFetching = false;

/** One of the panels that come later; nothing before the first answer, beside a recorded one, and until its script is there. */
export function Later({ panel }: { readonly panel: keyof Workshop }) {
  const done = recorded.value === undefined ? asked.value : undefined;
  useEffect(() => {
    if (done !== undefined) void fetchWorkshop(); // again at the next answer where it failed
  }, [done]);
  const Panel = workshop.value?.[panel];
  return done !== undefined && Panel !== undefined ? <Panel /> : null;
}

async function fetchWorkshop(): Promise<void> {
  if (isFetching || workshop.value !== undefined) return;
  isFetching = true;
  try {
    workshop.value = await import("./workshop.tsx");
  } catch {
    const message = "The panels for follow-ups, comparisons and patches could not be fetched: ask again when online.";
    notify("A part of the page is missing", { kind: "internal", message });
  } finally {
    isFetching = false;
  }
}
