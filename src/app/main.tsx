// The playground's page: starts the engine, lays out the panels, handles drops and pastes anywhere, and keeps the focus.
import { render } from "preact";
import { recallMemory } from "./models.ts";
import { registerServiceWorker } from "./offline.ts";
import { open } from "./opening.ts";
import { Answers } from "./panels/answers.tsx";
import { deferred } from "./panels/deferred.tsx";
import { FactorPanel } from "./panels/factor.tsx";
import { Looked } from "./panels/looked.tsx";
import { applyStoredTheme, Masthead } from "./panels/masthead.tsx";
import { ModelPanel } from "./panels/model.tsx";
import { ModelChooser } from "./panels/model-chooser.tsx";
import { Announcer, LoadStrip, Notices } from "./panels/notices.tsx";
import { DropAnywhere, PicturePanel } from "./panels/picture.tsx";
import { QuestionPanel } from "./panels/question.tsx";
import { RecordedNote } from "./panels/recorded-note.tsx";
import { Tokens } from "./panels/tokens.tsx";
import { recorded, showRecordedWithoutGpu } from "./recorded.ts";
import { watchDevice } from "./session.ts";
import { asked, offlineState } from "./state.ts";
import { askOnChange, keepAddress } from "./sync.ts";

const Kernels = deferred(async () => (await import("./panels/kernels.tsx")).Kernels);

function Page() {
  const isRecorded = recorded.value !== undefined;
  return (
    <div class="page">
      <button type="button" class="skip" onClick={skipToQuestion}>
        Skip to the question
      </button>
      <Masthead />
      <main>
        <Notices />
        <ModelChooser />
        <div class="workbench">
          <div class="column stays">
            <PicturePanel />
          </div>
          <div class="column">
            <QuestionPanel />
            <RecordedNote />
            <Answers />
            <FactorPanel />
            <Looked />
            <Tokens />
          </div>
        </div>
        <div class="below">
          {asked.value !== undefined && !isRecorded && <Kernels />}
          <ModelPanel />
        </div>
        <LoadStrip />
      </main>
      <footer class="foot">
        <p>
          AdaptVis is described in <a href="https://arxiv.org/abs/2503.01773">arXiv 2503.01773</a>. The objects are
          Microsoft’s Fluent emoji (MIT licence).
        </p>
      </footer>
      <Announcer />
      <DropAnywhere />
    </div>
  );
}

/** Moves the focus; a link would change the address, which contains the page's state. */
function skipToQuestion(): void {
  document.querySelector<HTMLElement>("#question input:checked")?.focus();
}

const isPlain = location.hash === "";
applyStoredTheme();
keepAddress();
recallMemory();
document.body.replaceChildren(); // the heading until this script has come, and the text for browsers in which it does not run
render(<Page />, document.body);
keepFocus();
askOnChange();
showRecordedWithoutGpu();
void watchDevice();
void open(isPlain);
void registerServiceWorker((state) => {
  offlineState.value = state;
});

/**
 * When the focused element is removed or becomes inert, moves the focus to the heading of its panel or page; otherwise a
 * screen reader would start at the top of the page again.
 */
export function keepFocus(): void {
  let last: Element | undefined;
  let panel: Element | undefined;
  document.addEventListener("focusin", ({ target }) => {
    if (!(target instanceof Element)) return;
    last = target;
    panel = target.closest(".panel") ?? undefined;
  });
  const look = () => {
    const isLost = last !== undefined && (!last.isConnected || last.closest("[inert]") !== null);
    if (!isLost) return;
    last = undefined;
    if (document.activeElement !== document.body && document.activeElement !== null) return;
    const heading = panel?.isConnected === true ? panel.querySelector("h2") : document.querySelector("h1");
    heading?.focus({ preventScroll: true });
  };
  const options = { subtree: true, childList: true, attributes: true, attributeFilter: ["inert"] };
  new MutationObserver(look).observe(document.body, options);
}
