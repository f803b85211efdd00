// How a report looks, and the script that filters its cards.

/** CSS beside that of every HTML report. Colours meet WCAG AA on their backgrounds, light and dark. */
export const REPORT_STYLE = `
:root { --page: light-dark(#fff, #161616); --faint: light-dark(#5a6069, #a3aab4); --line: light-dark(#d9dde2, #363b42); --card: light-dark(#f7f8fa, #1e2126); --link: light-dark(#0b5cad, #7cb8f5); }
body { max-width: 70rem; margin-top: 2.5rem; }
h1 { font-size: 1.75rem; line-height: 1.2; letter-spacing: -0.01em; text-wrap: balance; margin: 0 0 0.75rem; }
h2 { font-size: 1.35rem; line-height: 1.25; margin: 0 0 1rem; padding-top: 1.25rem; border-top: 2px solid light-dark(#222, #ccc); }
h3 { font-size: 1rem; margin: 2rem 0 0.25rem; }
a { color: var(--link); }
section, figure { overflow-x: visible; }
section { margin: 3.5rem 0 0; }
p, li, dd { max-width: 46rem; }
small { display: block; font-size: 0.85em; color: var(--faint); font-weight: normal; }
.lead { font-size: 1.05rem; }
.note, figcaption { color: var(--faint); font-size: 0.85rem; opacity: 1; }
p.note { overflow-wrap: anywhere; margin: 0.25rem 0 0.75rem; }
nav ul, .legend, .findings { padding: 0; list-style: none; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.5rem; margin: 1.5rem 0; }
nav a { display: block; padding: 0.25rem 0.7rem; border: 1px solid var(--line); border-radius: 1rem; text-decoration: none; font-size: 0.9rem; }
.facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0.3rem 1.25rem; margin: 1rem 0; font-size: 0.92rem; }
.facts div { display: contents; }
.facts dt { color: var(--faint); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.findings li { padding: 0.6rem 0.9rem; margin: 0.5rem 0; background: var(--card); border-left: 3px solid var(--link); border-radius: 0 4px 4px 0; max-width: 54rem; }
.legend { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; margin: 1.5rem 0 0.5rem; font-size: 0.9rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(336px, 100%), 1fr)); gap: 1.5rem 2rem; }
.plots figure { margin: 0; min-width: 0; }
.plots h3 { margin: 0.5rem 0; }
.plots svg text { font-family: inherit; }
.frame { overflow-x: auto; margin: 0 0 1rem; background: /* a shadow at the side where there is more */
  linear-gradient(to right, var(--page) 40%, transparent) left / 2.5rem 100% no-repeat local,
  linear-gradient(to left, var(--page) 40%, transparent) right / 2.5rem 100% no-repeat local,
  linear-gradient(to right, light-dark(#0003, #fff3), transparent) left / 0.6rem 100% no-repeat scroll,
  linear-gradient(to left, light-dark(#0003, #fff3), transparent) right / 0.6rem 100% no-repeat scroll; }
table { font-size: 0.85rem; min-width: 24rem; }
th, td { padding: 0.35rem 1rem 0.35rem 0; border-bottom: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 0; }
thead th { vertical-align: bottom; font-weight: 600; border-bottom: 1.5px solid light-dark(#222, #ccc); }
tbody th { font-weight: 500; max-width: 14rem; }
.group th { padding-top: 1rem; font-weight: 700; max-width: none; border-bottom-color: light-dark(#888, #777); }
.group span { display: inline-block; position: sticky; left: 0; }
.number { text-align: right; }
td.number, td small { white-space: nowrap; }
details { margin: 0.75rem 0; border: 1px solid var(--line); border-radius: 6px; padding: 0 0.9rem; }
summary { cursor: pointer; padding: 0.6rem 0; font-weight: 600; }
#filters { display: grid; grid-template-columns: minmax(0, 1fr); gap: 0.6rem; padding: 0.8rem 0.9rem; margin: 1rem 0; background: var(--card); border: 1px solid var(--line); border-radius: 6px; font-size: 0.92rem; }
#filters[hidden] { display: none; }
#filters > div { display: flex; flex-wrap: wrap; gap: 0.4rem 1.25rem; }
#filters label { display: inline-flex; align-items: center; gap: 0.4rem; min-height: 1.75rem; max-width: 100%; }
#filters select { font: inherit; min-width: 0; flex: 1; padding: 0.2rem; }
#filters input { width: 1.1rem; height: 1.1rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)); gap: 1rem; padding: 0; list-style: none; }
.card { padding: 0.8rem 0.9rem; background: var(--card); border: 1px solid var(--line); border-radius: 6px; min-width: 0; font-size: 0.9rem; }
.card[hidden] { display: none; }
.card p { margin: 0.5rem 0; overflow-wrap: anywhere; }
.card .head { margin-top: 0; display: flex; flex-wrap: wrap; gap: 0.3rem 0.7rem; align-items: baseline; color: var(--faint); font-size: 0.82rem; }
.card p:last-child { margin-bottom: 0; }
.card .question { font-weight: 600; }
.card dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0.1rem 0.8rem; margin: 0 0 0.6rem; }
.card dl div { display: contents; }
.card dt { color: var(--faint); }
.card dd { margin: 0; overflow-wrap: anywhere; }
.badge { padding: 0.05rem 0.55rem; border-radius: 1rem; font-weight: 600; color: light-dark(#fff, #111); background: light-dark(#5a6069, #a3aab4); print-color-adjust: exact; }
.badge.fixed { background: light-dark(#1d7044, #6fcf97); }
.badge.broken { background: light-dark(#b3362b, #f28b82); }
.badge.formatOnly { background: light-dark(#8a5a00, #f0b84a); }
.pictures { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 0.5rem; align-items: start; }
.pictures figure { margin: 0; }
.pictures img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: light-dark(#e8eaee, #2a2e34); border-radius: 3px; }
.pictures figcaption { font-size: 0.75rem; line-height: 1.35; margin-top: 0.25rem; }
.pictures figcaption { color: inherit; }
.pictures figcaption small { font-size: 1em; white-space: nowrap; }
.none { display: grid; place-items: center; aspect-ratio: 1; text-align: center; font-size: 0.75rem; color: var(--faint); border: 1px dashed var(--line); border-radius: 3px; }
.definitions div { padding: 0.5rem 0; border-bottom: 1px solid var(--line); scroll-margin-top: 1rem; }
@media (min-width: 50rem) {
  .definitions div { display: grid; grid-template-columns: 15rem minmax(0, 1fr); column-gap: 1.5rem; }
  .definitions dd { grid-column: 2; }
}
.definitions div:target { background: var(--card); box-shadow: -0.75rem 0 var(--card), 0.75rem 0 var(--card); }
.definitions dt { font-weight: 600; }
.definitions dd { margin: 0.15rem 0 0; }
pre { padding: 0.8rem 0.9rem; background: var(--card); border: 1px solid var(--line); border-radius: 6px; overflow-x: auto; font-size: 0.82rem; }
@media (max-width: 40rem) {
  body { margin-top: 1.25rem; }
  h1 { font-size: 1.4rem; }
  thead th:first-child, tbody tr:not(.group) th { position: sticky; left: 0; background: var(--page); }
  .facts { grid-template-columns: minmax(0, 1fr); gap: 0; }
  .facts dt { margin-top: 0.5rem; font-size: 0.82rem; }
  tbody th { max-width: 7.5rem; }
  table { font-size: 0.78rem; min-width: 0; }
  th, td { padding-right: 0.45rem; }
  td small { white-space: normal; }
}
@media print {
  :root { color-scheme: light; }
  @page { margin: 14mm; }
  body { margin: 0; padding: 0; max-width: none; font-size: 10pt; }
  nav, #filters { display: none !important; }
  section { margin-top: 1.5rem; }
  h2, h3, summary { break-after: avoid; }
  figure, .card, tr, .findings li, .definitions div { break-inside: avoid; }
  .frame, pre { overflow: visible; }
  .frame { background: none; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  table { font-size: 7.5pt; min-width: 0; width: 100%; }
  th, td { padding-right: 0.5rem; }
  details::details-content { content-visibility: visible; block-size: auto; }
  .plots { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1rem; }
  .cards { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .card[hidden] { display: none; }
  a { color: inherit; }
}
`;

/** Shows the filters and applies them. */
export const FILTER_SCRIPT = `const filters = document.getElementById("filters");
if (filters) {
  const cards = [...document.querySelectorAll(".card")];
  const apply = () => {
    const changes = [...filters.querySelectorAll("[name=change]:checked")].map(({ value }) => value);
    const chosen = (name) => filters.querySelector("[name=" + name + "]")?.value;
    let shown = 0;
    for (const card of cards) {
      const { change, method, run } = card.dataset;
      const fits = (name, value) => !chosen(name) || chosen(name) === value;
      card.hidden = !(changes.includes(change) && fits("method", method) && fits("run", run));
      if (!card.hidden) shown++;
    }
    document.getElementById("shown").textContent = shown + " of " + cards.length + " cards";
  };
  filters.hidden = false;
  filters.addEventListener("change", apply);
  apply();
}
`;
