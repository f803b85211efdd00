// What axe-core finds wrong for people who do not see the page or use no mouse.

import axe from "axe-core";
import type { Page } from "playwright-core";

/** Serious and critical findings, a line each, with the elements that have them. */
export async function seriousFindings(page: Page): Promise<string[]> {
  // Evaluated rather than added as a script, which a page's content security policy may forbid.
  await page.evaluate(axe.source);
  return await page.evaluate<
    string[]
  >(`axe.run(document, { resultTypes: ["violations"], rules: { "target-size": { enabled: true } } }).then(({ violations }) =>
    violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, help, nodes }) => id + ": " + help + ": " + nodes.map(({ target, failureSummary }) =>
        target.join(" ") + " (" + failureSummary.split("\\n").slice(1).join("; ").trim() + ")").join(", ")))`);
}
