// The compile lab's report as a single HTML file.
import type { TopLevelSpec } from "vega-lite";
import { escaped, pageHtml, svgOf, tableHtml } from "../bench/html-page.node.ts";
import { type InstructionMix, OPERATION_KINDS } from "./instruction-mix.ts";
import { type IsaReport, type IsaTargetReport, isaName } from "./lab.ts";
import { COLUMNS_TEXT, isaTables } from "./report.ts";

/** The whole page. */
export async function isaHtml(report: IsaReport): Promise<string> {
  const plots: string[] = [];
  for (const each of report.targets) {
    const spec = mixPlot(each);
    if (spec !== undefined) {
      const title = `What the hot loops are made of on ${each.target.name}`;
      plots.push(`<figure><h2>${escaped(title)}</h2>${await svgOf(spec)}</figure>`);
    }
  }
  const tables = isaTables(report).map(
    ({ title, head, rows }) => `<section><h2>${escaped(title)}</h2>${tableHtml(head, rows)}</section>`,
  );
  return pageHtml({
    title: "adaptvis isa",
    heading: "adaptvis isa: the kernels as a GPU's compiler translates them",
    parts: [`<p>${escaped(`Driver: ${report.driver}. ${COLUMNS_TEXT}`)}</p>`, ...tables, ...plots],
  });
}

/** Bars of the hot loops' operations by kind, of pipelines with one name the first; undefined without instructions. */
function mixPlot({ kernels }: IsaTargetReport): TopLevelSpec | undefined {
  const hotLoops = new Map<string, InstructionMix>();
  for (const kernel of kernels) {
    const [hot] = kernel.loops;
    if (hot !== undefined && !hotLoops.has(isaName(kernel))) hotLoops.set(isaName(kernel), hot.mix);
  }
  const values = [...hotLoops].flatMap(([kernel, { counts }]) =>
    OPERATION_KINDS.map((kind, order) => ({ kernel, kind, order, count: counts[kind] })),
  );
  if (values.length === 0) return undefined;
  return {
    width: 640,
    data: { values },
    mark: "bar",
    encoding: {
      y: { field: "kernel", type: "nominal", title: null, sort: null, axis: { labelLimit: 520 } },
      x: { field: "count", type: "quantitative", stack: "normalize", title: "share of the operations" },
      color: {
        field: "kind",
        type: "nominal",
        title: null,
        sort: [...OPERATION_KINDS],
        scale: { scheme: "tableau20" },
      },
      order: { field: "order" },
    },
  };
}
