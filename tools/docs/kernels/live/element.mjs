// <kernel-live-run kernel="rms-norm">: runs the tests of a kernel on the reader's GPU. Everything but this file and its view is
// loaded when the button is pressed first.

import { STYLE, showAll, showResult } from "./view.mjs";

const NO_WEBGPU =
  "To run this kernel here, open this page over https in a browser with WebGPU: Chrome, Edge, Safari 26 or newer, or Firefox 141 or newer.";

class KernelLiveRun extends HTMLElement {
  #view;

  connectedCallback() {
    if (this.shadowRoot !== null) return;
    const root = this.attachShadow({ mode: "open" });
    // Not a <style>, which a page's content security policy may forbid.
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];
    this.#view = navigator.gpu === undefined ? undefined : this.#controls();
    const parts =
      this.#view === undefined ? [element("p", { className: "note", textContent: NO_WEBGPU })] : this.#view.parts;
    root.append(...parts);
  }

  #controls() {
    const option = this.getAttribute("case") ?? "the first case";
    const select = element("select", { disabled: true });
    select.append(element("option", { textContent: option, value: option }));
    const label = element("label", { textContent: "Case " });
    label.append(select);
    const one = element("button", { type: "button", textContent: "Run on this GPU" });
    const all = element("button", { type: "button", className: "second", hidden: true });
    const controls = element("div", { className: "controls" });
    controls.append(label, one, all);
    const status = element("p", { className: "status" });
    status.setAttribute("role", "status");
    const result = element("div", { className: "result" });
    one.addEventListener("click", () => this.#run((cases, place) => runOne(cases[select.selectedIndex], place)));
    all.addEventListener("click", () => this.#run(runAll));
    return { parts: [controls, status, result], select, buttons: [one, all], all, status, result };
  }

  /** Loads the tests where they are not yet, and does what a button asks for. */
  async #run(work) {
    const { select, buttons, all, status, result } = this.#view;
    for (const button of buttons) button.disabled = true;
    result.replaceChildren();
    status.className = "status";
    status.textContent = "Loading the kernel's tests …";
    try {
      const { casesOf, gpuName } = await import("./cases.ts");
      const cases = await casesOf(this.getAttribute("kernel"));
      fill(select, cases, this.getAttribute("case"));
      all.textContent = `Run all ${cases.length} cases`;
      all.hidden = cases.length < 2;
      const gpu = await gpuName();
      const needs = this.getAttribute("needs") ?? "something that is missing";
      await work(cases, { status, result, gpu, refusal: `${gpu} cannot run this kernel: it needs ${needs}.` });
    } catch (error) {
      status.className = "status failed";
      status.textContent = error instanceof Error ? error.message : String(error);
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  }
}

async function runOne(chosen, place) {
  if (chosen === undefined) {
    place.status.textContent = place.refusal;
    return;
  }
  place.status.textContent = `Compiling and running on ${place.gpu} …`;
  showResult(await chosen.run({ timed: true }), place);
}

async function runAll(cases, place) {
  const outcomes = [];
  for (const { title, run } of cases) {
    place.status.textContent = `Case ${outcomes.length + 1} of ${cases.length} on ${place.gpu} …`;
    outcomes.push({ title, ...(await run({ timed: false })) });
  }
  showAll(outcomes, place);
}

/** Fills the list once the tests are known. */
function fill(select, cases, preferred) {
  if (!select.disabled) return;
  select.replaceChildren(...cases.map(({ title }) => element("option", { textContent: title, value: title })));
  const index = preferred === null ? 0 : cases.findIndex(({ title }) => title === preferred);
  if (index < 0 && cases.length > 0) throw new Error(`The tests have no case “${preferred}”.`);
  select.selectedIndex = index;
  select.disabled = cases.length < 2;
}

function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}

if (customElements.get("kernel-live-run") === undefined) customElements.define("kernel-live-run", KernelLiveRun);
