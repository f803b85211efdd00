// <kernel-live-run kernel="rms-norm">: runs the tests of a kernel on the reader's GPU. Everything but this file and its view is
// loaded when the button is pressed first.

import { STYLE, showResult } from "./view.mjs";

const NO_WEBGPU =
  "To run this kernel here, open this page over https in a browser with WebGPU: Chrome, Edge, Safari 26 or newer, or Firefox 141 or newer.";

class KernelLiveRun extends HTMLElement {
  #isFilled = false;

  connectedCallback() {
    if (this.#isFilled) return;
    this.#isFilled = true;
    const root = this.attachShadow({ mode: "open" });
    root.innerHTML = `<style>${STYLE}</style>`;
    if (navigator.gpu === undefined) {
      root.append(element("p", { className: "note", textContent: NO_WEBGPU }));
      return;
    }
    const kernel = this.getAttribute("kernel");
    const select = element("select", { disabled: true });
    const option = this.getAttribute("case") ?? "the first case";
    select.append(element("option", { textContent: option, value: option }));
    const label = element("label", { textContent: "Case " });
    label.append(select);
    const button = element("button", { type: "button", textContent: "Run on this GPU" });
    const controls = element("div", { className: "controls" });
    controls.append(label, button);
    const status = element("p", { className: "status" });
    status.setAttribute("role", "status");
    const result = element("div", { className: "result" });
    root.append(controls, status, result);
    button.addEventListener("click", async () => {
      button.disabled = true;
      result.replaceChildren();
      status.className = "status";
      status.textContent = "Loading the kernel's tests …";
      try {
        const { casesOf, gpuName } = await import("./cases.ts");
        const cases = await casesOf(kernel);
        fill(select, cases, this.getAttribute("case"));
        const chosen = cases[select.selectedIndex];
        const needs = this.getAttribute("needs") ?? "something that is missing";
        const refusal = `${await gpuName()} cannot run this kernel: it needs ${needs}.`;
        if (chosen === undefined) {
          status.textContent = refusal;
          return;
        }
        status.textContent = `Compiling and running on ${await gpuName()} …`;
        await showResult(await chosen.run(), { status, result, gpu: await gpuName(), refusal });
      } catch (error) {
        status.className = "status failed";
        status.textContent = error instanceof Error ? error.message : String(error);
      } finally {
        button.disabled = false;
      }
    });
  }
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
