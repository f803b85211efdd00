// Reports as single HTML files, light and dark, without external resources, which a Content-Security-Policy enforces.
import { createHash } from "node:crypto";
import type { TopLevelSpec } from "vega-lite";

/** Text and axes use the page's colour, so that one drawing works in light and dark. */
const INHERITED = {
  background: "transparent",
  view: { stroke: "transparent" },
  axis: {
    labelColor: "currentColor",
    titleColor: "currentColor",
    domainColor: "gray",
    tickColor: "gray",
    gridColor: "gray",
    gridOpacity: 0.25,
  },
  legend: { labelColor: "currentColor", titleColor: "currentColor" },
};

/** A page. */
export interface HtmlPage {
  readonly title: string;
  readonly heading: string;
  /** HTML, one after the other. */
  readonly parts: readonly string[];
  /** More CSS. */
  readonly style?: string;
  /** JavaScript that runs at the end of the page; without it everything has to be readable, too. */
  readonly script?: string;
}

/** The whole file. */
export function pageHtml({ title, heading, parts, style = "", script }: HtmlPage): string {
  const css = `${BASE_STYLE}${style}`;
  const code = script === undefined ? undefined : `\n${script}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${contentPolicy(css, code)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${css}</style>
</head>
<body>
<main>
<h1>${escaped(heading)}</h1>
${parts.join("\n")}
</main>
${code === undefined ? "" : `<script>${code}</script>\n`}</body>
</html>
`;
}

/** Allows the page's own style and script by their hashes, pictures within it, and nothing else. */
function contentPolicy(style: string, script: string | undefined): string {
  const hash = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  const own = [`style-src ${hash(style)}`, ...(script === undefined ? [] : [`script-src ${hash(script)}`])];
  return ["default-src 'none'", ...own, "img-src data:", "base-uri 'none'", "form-action 'none'"].join("; ");
}

const BASE_STYLE = `
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: light-dark(#222, #ddd); background: light-dark(#fff, #161616); }
svg { max-width: 100%; height: auto; overflow: visible; }
figure, section { margin: 2.5rem 0; overflow-x: auto; }
figcaption { max-width: 50rem; opacity: 0.8; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 0.2rem 0.8rem 0.2rem 0; border-bottom: 1px solid light-dark(#ddd, #333); vertical-align: top; }
h2 { font-size: 1.1rem; }
`;

/**
 * A plot as inline SVG.
 * @param options.label what the plot shows, for screen readers, which then read it in place of the plot's marks
 */
export async function svgOf(spec: TopLevelSpec, options: { readonly label?: string } = {}): Promise<string> {
  const [{ compile }, { parse, View }] = await Promise.all([import("vega-lite"), import("vega")]);
  const { label } = options;
  const config = label === undefined ? INHERITED : { ...INHERITED, aria: false };
  const view = new View(parse(compile({ ...spec, config }).spec), { renderer: "none" });
  try {
    const svg = await view.toSVG();
    if (label === undefined) return svg;
    // Roles that the plot's groups have in spite of the setting; an image has no parts.
    const whole = svg.replaceAll(/ (?:role|aria-roledescription)="[^"]*"/g, "");
    return whole.replace("<svg ", `<svg role="img" aria-label="${escaped(label)}" `);
  } finally {
    view.finalize();
  }
}

/** A table of text. */
export function tableHtml(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[], tag: "th" | "td") =>
    `<tr>${cells.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join("")}</tr>`;
  return `<table>${line(head, "th")}${rows.map((row) => line(row, "td")).join("\n")}</table>`;
}

/** Text as HTML. */
export function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
