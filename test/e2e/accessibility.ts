// What axe-core finds wrong for people who do not see the page or use no mouse.

import axe from "axe-core";
import type { Page } from "playwright-core";

/**
 * Serious and critical findings, a line each, with the elements that have them.
 * @param of "colors": of the rules about colours only, for a page in another colour scheme that differs in nothing else
 */
export async function seriousFindings(page: Page, of: "everything" | "colors" = "everything"): Promise<string[]> {
  // Evaluated rather than added as a script, which a page's content security policy may forbid.
  if (!(await page.evaluate<boolean>(`"axe" in globalThis`))) await page.evaluate(axe.source);
  const only =
    of === "colors"
      ? `runOnly: { type: "rule", values: ["color-contrast", "link-in-text-block"] },`
      : `rules: { "target-size": { enabled: true } },`;
  return await page.evaluate<
    string[]
  >(`axe.run(document, { ${only} resultTypes: ["violations"] }).then(({ violations }) =>
    violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, help, nodes }) => id + ": " + help + ": " + nodes.map(({ target, failureSummary }) =>
        target.join(" ") + " (" + failureSummary.split("\\n").slice(1).join("; ").trim() + ")").join(", ")))`);
}
