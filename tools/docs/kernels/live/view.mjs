// What <kernel-live-run> shows of a case.

/** Colours come from VitePress' variables where there are any. */
export const STYLE = `
:host { display: block; margin: 16px 0; padding: 16px; border: 1px solid var(--vp-c-divider, #8884); border-radius: 8px;
  background: var(--vp-c-bg-soft, transparent); color: var(--vp-c-text-1, inherit); font: inherit; line-height: 1.5; }
.controls { display: flex; flex-wrap: wrap; gap: 12px; align-items: center; }
label { display: flex; gap: 8px; align-items: center; min-width: 0; flex: 1 1 240px; font-size: 14px; }
select { min-width: 0; flex: 1; font: inherit; padding: 8px; border-radius: 6px; border: 1px solid var(--vp-c-border, #888);
  background: var(--vp-c-bg, Canvas); color: inherit; text-overflow: ellipsis; }
button { font: inherit; font-size: 14px; font-weight: 600; min-height: 44px; padding: 0 20px; border: 0; border-radius: 22px; cursor: pointer;
  background: var(--vp-c-brand-1, #3451b2); color: var(--vp-c-bg, #fff); }
button.second { background: transparent; color: var(--vp-c-brand-1, #3451b2); border: 1px solid currentColor; }
button[hidden] { display: none; }
button:disabled { opacity: 0.6; cursor: progress; }
button:focus-visible, select:focus-visible, .scroll:focus-visible { outline: 2px solid var(--vp-c-brand-1, #3451b2); outline-offset: 2px; }
p { margin: 12px 0 0; } .note { margin: 0; }
.status:empty { display: none; }
.verdict { font-weight: 600; }
.passed { color: var(--vp-c-green-1, #18794e); } .failed { color: var(--vp-c-danger-1, #b8272c); }
.scroll { overflow-x: auto; margin-top: 12px; }
table { border-collapse: collapse; font-size: 13px; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 4px 0; }
th, td { text-align: right; padding: 4px 8px; border-bottom: 1px solid var(--vp-c-divider, #8884); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th { font-weight: 500; color: var(--vp-c-text-2, inherit); }
.pictures { display: flex; flex-wrap: wrap; gap: 16px; margin-top: 16px; }
figure { margin: 0; flex: 1 1 180px; max-width: 320px; min-width: 0; }
canvas { display: block; width: 100%; image-rendering: pixelated; border: 1px solid var(--vp-c-divider, #8884); }
figcaption { font-size: 13px; color: var(--vp-c-text-2, inherit); margin-top: 4px; }
@media (max-width: 480px) { :host { padding: 12px; } button { width: 100%; } }
`;

/** Largest number of rows and columns of a tensor that its picture shows. */
const LARGEST = { rows: 64, columns: 128 };
const NUM_VALUES = 8;
const SUPERSCRIPTS = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

/**
 * Shows how a case ended.
 * @param {import("./recorder.ts").CaseResult} outcome
 * @param {{ status: HTMLElement, result: HTMLElement, gpu: string, refusal: string }} place with what to say where nothing ran
 */
export function showResult({ failure, comparisons, runs }, { status, result, gpu, refusal }) {
  if (failure === undefined && runs.length === 0) {
    status.textContent = refusal;
    return;
  }
  status.className = `status verdict ${failure === undefined ? "passed" : "failed"}`;
  status.textContent = verdict(failure, comparisons);
  const notes = [timeNote(runs, gpu), failure].filter((text) => text !== undefined);
  result.replaceChildren(...notes.map((text) => element("p", { textContent: text })));
  if (comparisons.length > 0) result.append(comparisonTable(comparisons));
  // The last comparison is what failed; the first is of the kernel's main output.
  const shown = failure === undefined ? comparisons[0] : comparisons.at(-1);
  if (shown !== undefined) result.append(pictures(shown), valueTable(shown));
  const [first] = runs;
  if (first === undefined) return;
  if (first.inputs.length > 0) result.append(bufferTable("First values that are read, as stored", first.inputs));
  if (first.outputs.length > 0) result.append(bufferTable("First values that are written, as stored", first.outputs));
}

/**
 * Shows how all cases of a kernel ended.
 * @param {readonly ({ title: string } & import("./recorder.ts").CaseResult)[]} outcomes
 * @param {{ status: HTMLElement, result: HTMLElement, gpu: string }} place
 */
export function showAll(outcomes, { status, result, gpu }) {
  const failed = outcomes.filter(({ failure }) => failure !== undefined);
  status.className = `status verdict ${failed.length === 0 ? "passed" : "failed"}`;
  status.textContent =
    failed.length === 0
      ? `✓ All ${outcomes.length} cases pass on ${gpu}.`
      : `✗ ${failed.length} of ${outcomes.length} cases fail on ${gpu}.`;
  const rows = outcomes.map(({ title, failure, comparisons }) => {
    const worst = comparisons.reduce((largest, { ratio }) => Math.max(largest, ratio), 0);
    const most = comparisons.length === 0 ? "–" : worst === Number.POSITIVE_INFINITY ? "outside" : share(worst);
    return [title, most, failure === undefined ? "✓" : "✗"];
  });
  result.replaceChildren(
    ...failed.map(({ title, failure }) => element("p", { textContent: `${title}: ${failure}` })),
    table("Largest error of each case as a share of its bound", ["case", "share", "within"], rows),
  );
}

function verdict(failure, comparisons) {
  if (failure !== undefined) return "✗ Fails: the GPU's result is not that of the f64 twin.";
  if (comparisons.length === 0) return "✓ Passes: every value is exactly that of the twin.";
  const worst = comparisons.reduce((a, b) => (b.ratio > a.ratio ? b : a));
  return worst.error === 0
    ? "✓ Passes: the largest error is 0, every value is exactly that of the twin."
    : `✓ Passes: the largest error is ${number(worst.error)} where ${number(worst.allowed)} is allowed, ${share(worst.ratio)} of the bound.`;
}

function timeNote(runs, gpu) {
  const [first] = runs;
  if (first === undefined) return undefined;
  const kernels = first.dispatches
    .map(({ kernel, grid }) => `${kernel} (${grid.join(" × ")} workgroups)`)
    .join(", then ");
  if (first.time === undefined) return `${gpu} ran ${kernels}.`;
  const { microseconds, repetitions, isGpuTime } = first.time;
  const how = isGpuTime
    ? `by the GPU's clock, the mean of ${repetitions} ${repetitions === 1 ? "run" : "runs"}`
    : `the time of ${repetitions} runs together as the page sees it, divided by their number: this browser has no GPU clock`;
  return `${gpu} ran ${kernels} in ${duration(microseconds)} (${how}).`;
}

function comparisonTable(comparisons) {
  const rows = comparisons.map(({ bound, shape, error, allowed, ratio, nmse, outside }) => [
    shape.join(" × "),
    bound.name,
    number(error),
    number(allowed),
    ratio === Number.POSITIVE_INFINITY ? "outside" : share(ratio),
    number(nmse),
    outside > 0 || nmse > bound.nmse ? "✗" : "✓",
  ]);
  const titles = ["values", "bound", "largest error", "allowed there", "share", "NMSE", "within"];
  return table("Compared with the f64 twin", titles, rows);
}

function valueTable({ actual, expected, shape, index }) {
  const last = shape.at(-1) ?? 1;
  const first = Math.max(0, Math.min(index - (index % NUM_VALUES), actual.length - NUM_VALUES));
  const start = Math.min(first, Math.max(0, actual.length - NUM_VALUES));
  const rows = Array.from({ length: Math.min(NUM_VALUES, actual.length) }, (_, i) => {
    const at = start + i;
    const mark = at === index ? " (worst)" : "";
    return [
      `[${coordinates(at, shape)}]${mark}`,
      String(Math.fround(actual[at])),
      String(expected[at]),
      number(Math.abs(actual[at] - expected[at])),
    ];
  });
  return table(
    `Values around the largest error, rows of ${last}`,
    ["index", "GPU, f32", "twin, f64", "difference"],
    rows,
  );
}

function bufferTable(caption, buffers) {
  const rows = buffers.map(({ binding, type, values }) => [binding, type, values.map(short).join(", ")]);
  return table(caption, ["binding", "type", "values"], rows);
}

function table(caption, titles, rows) {
  const scroll = element("div", { className: "scroll", tabIndex: 0 });
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", caption);
  const body = element("table", {});
  body.append(element("caption", { textContent: caption }));
  const head = body.createTHead().insertRow();
  for (const title of titles) {
    const cell = element("th", { textContent: title });
    cell.scope = "col";
    head.append(cell);
  }
  const section = body.createTBody();
  for (const row of rows) {
    const line = section.insertRow();
    for (const text of row) line.insertCell().textContent = text;
  }
  scroll.append(body);
  return scroll;
}

/** The GPU's values, the twin's, and the errors as shares of what is allowed. */
function pictures(comparison) {
  const { actual, expected, magnitudes, bound, shape } = comparison;
  const columns = shape.at(-1) ?? 1;
  const size = { columns: Math.min(columns, LARGEST.columns), rows: Math.min(actual.length / columns, LARGEST.rows) };
  const at = (x, y) => y * columns + x;
  let scale = 0;
  for (let y = 0; y < size.rows; y++)
    for (let x = 0; x < size.columns; x++) scale = Math.max(scale, Math.abs(expected[at(x, y)]) || 0);
  const signed = (values) => (x, y) => diverging(values[at(x, y)] / (scale || 1));
  const error = (x, y) => {
    const i = at(x, y);
    const difference = Math.abs(actual[i] - expected[i]);
    const allowed = bound.absolute + bound.relative * Math.abs(magnitudes[i]);
    return difference === 0 ? [255, 255, 255] : shareColor(difference / allowed);
  };
  const part =
    size.columns < columns || size.rows < actual.length / columns ? `, the first ${size.rows} × ${size.columns}` : "";
  const box = element("div", { className: "pictures" });
  box.append(
    picture(size, signed(actual), `GPU${part}: blue below 0, red above, up to ±${number(scale)}`),
    picture(size, signed(expected), "f64 twin, in the same colours"),
    picture(size, error, "error: white none, dark orange as large as allowed, black beyond"),
  );
  return box;
}

function picture({ rows, columns }, colorOf, caption) {
  const canvas = element("canvas", { width: columns, height: rows });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", caption);
  canvas.style.aspectRatio = String(Math.min(8, Math.max(1, columns / rows)));
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(columns, rows);
  for (let y = 0; y < rows; y++)
    for (let x = 0; x < columns; x++) pixels.data.set([...colorOf(x, y), 255], (y * columns + x) * 4);
  context.putImageData(pixels, 0, 0);
  const figure = element("figure", {});
  figure.append(canvas, element("figcaption", { textContent: caption }));
  return figure;
}

/** −1 is blue, 0 white, 1 red, NaN and infinities black. */
function diverging(value) {
  if (!Number.isFinite(value)) return [0, 0, 0];
  const t = Math.max(-1, Math.min(1, value));
  const fade = 255 * (1 - Math.abs(t));
  return t < 0 ? [fade, 80 + (fade * 175) / 255, 255 - 50 * -t] : [255 - 40 * t, 60 + (fade * 195) / 255, fade];
}

/** 0 white, 1 dark orange, beyond black. */
function shareColor(ratio) {
  if (!(ratio <= 1)) return [0, 0, 0];
  return [255 - 60 * ratio, 255 - 165 * ratio, 255 - 255 * ratio];
}

function coordinates(index, shape) {
  let rest = index;
  const parts = shape.toReversed().map((size) => {
    const coordinate = rest % size;
    rest = Math.floor(rest / size);
    return coordinate;
  });
  return parts.toReversed().join(", ");
}

/** 1.19e-7 → "1.19 × 10⁻⁷". */
function number(value) {
  const size = Math.abs(value);
  if (value === 0 || !Number.isFinite(value)) return String(value);
  if (size >= 1e-3 && size < 1e4) return String(Number(value.toPrecision(3)));
  const [digits, power] = value.toExponential(2).split("e");
  return `${digits} × 10${[...String(Number(power))].map((digit) => SUPERSCRIPTS[digit]).join("")}`;
}

function short(value) {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}

function share(ratio) {
  return `${(100 * ratio).toFixed(ratio > 0 && ratio < 0.1 ? 1 : 0)} %`;
}

function duration(microseconds) {
  if (microseconds < 1000) return `${microseconds.toPrecision(3)} µs`;
  return `${(microseconds / 1000).toPrecision(3)} ms`;
}

function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}
