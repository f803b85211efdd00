// The focus where it was: a button that goes away when it has done its work would take the focus along, and a screen reader
// would begin at the top of the page again.

/** When what has the focus goes away or becomes inert, its panel's heading gets it, or the page's. */
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
