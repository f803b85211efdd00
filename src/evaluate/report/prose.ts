// Sentences of a report: what a run is, what came out, and the command that repeats it.
import { isObject } from "../../errors.ts";
import { PROMPT_FORMS } from "../run/samples.ts";
import type { ReportMethod, ReportRun } from "./report-run.ts";
import { percent, signed } from "./table.ts";

/** What a run is, as names and values. */
export function runFacts(run: ReportRun): readonly (readonly [string, string])[] {
  const { dataSet, modelName, manifest, scores, file, methods } = run;
  const { identity, about } = manifest;
  const { split } = scores;
  const part =
    split.name === "all"
      ? `all ${split.numQuestions} questions of the file`
      : `${split.name} half, ${split.numExpected} of the file’s ${split.numQuestions} questions`;
  const answered = file.isComplete ? "" : `; ${file.n} of them answered`;
  const gates = methods.flatMap((method) => {
    const text = settingsText(method);
    return text === "" ? [] : [`${method.label}: ${text}`];
  });
  const adapter =
    isObject(about.adapter) && typeof about.adapter.description === "string" ? about.adapter.description : undefined;
  return [
    ["Data set", `${dataSet.name}: ${dataSet.summary}`],
    ["Questions", `${part}${answered}`],
    ["Model", `${modelName}, weights ${identity.dtype}, fingerprint ${identity.model.slice(0, 12)}`],
    [
      "Prompts",
      identity.prompts === PROMPT_FORMS[0] ? "as the data set’s authors fed them" : "by the checkpoint’s chat template",
    ],
    ...(gates.length === 0 ? [] : [["Settings", gates.join("; ")] as const]),
    ...(adapter === undefined ? [] : [["Computed on", adapter] as const]),
    ...(typeof about.version === "string" ? [["Answered by", `adaptvis ${about.version}`] as const] : []),
  ];
}

/** Settings that a method's label does not show. */
function settingsText({ method, settings, name }: ReportMethod): string {
  if (method === "greedy" || method === "scaling") return "";
  return Object.entries(settings)
    .filter(([key, value]) => !name.includes(`${key}=`) && value !== null && typeof value !== "object")
    .map(([key, value]) => `${key} ${value}`)
    .join(", ");
}

/** What came out, one sentence per compared method that is not part of a sweep over factors. */
export function findingsOf(run: ReportRun): readonly string[] {
  const scaling = run.methods.filter(({ method }) => method === "scaling");
  const isSweep = scaling.length > 1;
  return run.methods.flatMap((method) => {
    const share = method.scored.rules.paper?.individual.percent ?? null;
    if (share === null || (isSweep && method.method === "scaling") || method === run.greedy) return [];
    const test = method.paired?.paper ?? null;
    if (test === null) return [`${run.label}: ${method.label} answers ${percent(share)} right.`];
    const points = 100 * test.difference.mean;
    const greedy = run.greedy?.scored.rules.paper?.individual.percent ?? null;
    const beside = greedy === null ? "" : `, greedy ${percent(greedy)}`;
    const [lower, upper] = [100 * test.difference.lower, 100 * test.difference.upper].map(signed);
    const judgement =
      test.onlyA + test.onlyB === 0
        ? "the same verdict on every question"
        : test.p < 0.05
          ? `more than chance explains (McNemar p ${test.p < 0.0001 ? "< 0.0001" : `= ${test.p.toPrecision(2)}`})`
          : `which chance may explain (McNemar p = ${test.p.toFixed(2)})`;
    const difference =
      test.onlyA + test.onlyB === 0
        ? judgement
        : `${signed(points)} points, interval ${lower} to ${upper}, ${judgement}`;
    return [
      `${run.label}: ${method.label} answers ${percent(share)} of ${test.n} questions right${beside}: ${difference}.`,
    ];
  });
}

/** The command that answers a run's questions again, with capitals for what only its user knows. */
export function evalCommand(run: ReportRun): { readonly command: string; readonly remarks: readonly string[] } {
  const { identity, shard } = run.manifest;
  const parts = [
    "adaptvis eval",
    `--dataset ${identity.dataset}`,
    "--data-dir DATA",
    `--model MODELS/${run.modelName}`,
    `--dtype ${identity.dtype}`,
    ...(identity.kvDtype === "f32" ? [] : [`--kv ${identity.kvDtype}`]),
    ...(identity.activationDtype === "f32" ? [] : [`--activations ${identity.activationDtype}`]),
    `--split ${identity.split}`,
    `--prompts ${identity.prompts}`,
    `--max-new-tokens ${identity.maxNewTokens}`,
    ...Object.keys(identity.methods).map((name) => `--method ${name}`),
    "--out RUN",
  ];
  return {
    command: parts.join(" \\\n  "),
    remarks: [
      ...(identity.ids === null
        ? []
        : ["Only some questions of the split were asked (--limit, --only or --only-file)."]),
      ...(shard === null
        ? []
        : [`This is part ${shard.index} of ${shard.count} of a run (--shard ${shard.index}/${shard.count}).`]),
      `SHA-256 of the question file: ${identity.questions}; fingerprint of the checkpoint: ${identity.model}.`,
    ],
  };
}
