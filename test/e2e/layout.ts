// What a person sees at once and no unit test does: things cut off, covered, overlapping or wider than the window.

import type { Page } from "playwright-core";

/** Faults of the page's layout at its present width, a line each; none on a good page. */
export async function layoutFaults(page: Page): Promise<string[]> {
  return await page.evaluate<string[]>(`(${findFaults})()`);
}

/** Runs in the page; as text, so that no bundler changes it. */
const findFaults = `() => {
  const faults = [];
  const width = document.documentElement.clientWidth;
  const describe = (element) => {
    const name = element.ariaLabel ?? element.labels?.[0]?.textContent ?? element.textContent ?? "";
    return element.tagName.toLowerCase() + " \\"" + name.trim().replace(/\\s+/g, " ").slice(0, 40) + "\\"";
  };
  if (document.documentElement.scrollWidth > width)
    faults.push("the page is " + document.documentElement.scrollWidth + " pixels wide in a window of " + width);

  const isShown = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  // Radio buttons and file inputs are often drawn by their labels alone.
  const drawn = (element) => {
    const { width, height } = element.getBoundingClientRect();
    return (width > 4 && height > 4) || !element.labels?.[0] ? element : element.labels[0];
  };
  const selector = "button, input, select, textarea, a[href], summary, [role=slider], [tabindex='0']";
  const controls = [...new Set([...document.querySelectorAll(selector)].filter(isShown).map(drawn))];
  const inScroller = (element) => {
    for (let at = element.parentElement; at !== null && at !== document.body; at = at.parentElement)
      if (/auto|scroll/.test(getComputedStyle(at).overflowX) && at.scrollWidth > at.clientWidth) return true;
    return false;
  };
  for (const control of controls) {
    control.scrollIntoView({ block: "center", behavior: "instant" });
    const box = control.getBoundingClientRect();
    if (box.width === 0 || box.height === 0) continue;
    if (!inScroller(control) && (box.left < -0.5 || box.right > width + 0.5))
      faults.push(describe(control) + " lies at " + box.left + " to " + box.right + " in a window of " + width);
    const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
    const top = document.elementFromPoint(x, y);
    const isSame = top !== null && (control.contains(top) || top.contains(control) || top.closest("label")?.control === control);
    if (!isSame && x >= 0 && x < width) faults.push(describe(control) + " is covered by " + (top ? describe(top) : "nothing"));
  }
  const boxes = controls.map((control) => [control, control.getBoundingClientRect()]);
  for (const [index, [one, a]] of boxes.entries()) {
    for (const [other, b] of boxes.slice(index + 1)) {
      if (one.contains(other) || other.contains(one)) continue;
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (across > 1 && down > 1) faults.push(describe(one) + " overlaps " + describe(other));
    }
  }
  for (const element of document.querySelectorAll("body *")) {
    if (!isShown(element) || ![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== "")) continue;
    const { overflowX, overflowY } = getComputedStyle(element);
    const isHiddenOnPurpose = element.clientWidth <= 1 || element.clientHeight <= 1;
    if (isHiddenOnPurpose) continue;
    if (/hidden|clip/.test(overflowX) && element.scrollWidth > element.clientWidth + 1)
      faults.push(describe(element) + " is cut off at its side");
    if (/hidden|clip/.test(overflowY) && element.scrollHeight > element.clientHeight + 2)
      faults.push(describe(element) + " is cut off below");
  }
  window.scrollTo({ top: 0, behavior: "instant" });
  return faults;
}`;
