// Sentences of a report: what a run is, what came out, and the command that repeats it.
import { at, isObject } from "../../errors.ts";
import type { BoxIdentity } from "../metrics/question-boxes.ts";
import { PROMPT_FORMS } from "../run/samples.ts";
import type { RunScores } from "../scores.ts";
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

/**
 * What came out: one sentence per compared method that is not part of a sweep over factors, and one for all that change no verdict.
 */
export function findingsOf(run: ReportRun): readonly string[] {
  const isSweep = run.methods.filter(({ method }) => method === "scaling").length > 1;
  const compared = run.methods.filter(
    (method) =>
      method.scored.rules.paper !== null && !(isSweep && method.method === "scaling") && method !== run.greedy,
  );
  const isSame = ({ paired }: ReportMethod) => paired?.paper != null && paired.paper.onlyA + paired.paper.onlyB === 0;
  const same = compared.filter(isSame);
  const sentences = compared.filter((method) => !isSame(method)).map((method) => findingOf(run, method));
  return same.length === 0 ? sentences : [...sentences, sameFinding(run, same)];
}

function findingOf(run: ReportRun, { label, scored, paired }: ReportMethod): string {
  const share = shareText(scored);
  const test = paired?.paper ?? null;
  if (test === null) return `${run.label}: ${label} answers ${share} right.`;
  const greedy = run.greedy?.scored.rules.paper?.individual.percent ?? null;
  const beside = greedy === null ? "" : `, greedy ${percent(greedy)}`;
  const { mean, lower, upper } = test.difference;
  const [points, from, to] = [mean, lower, upper].map((value) => signed(100 * value));
  const judgement =
    test.p < 0.05
      ? `more than chance explains (McNemar p ${test.p < 0.0001 ? "< 0.0001" : `= ${test.p.toPrecision(2)}`})`
      : `which chance may explain (McNemar p = ${test.p.toFixed(2)})`;
  return `${run.label}: ${label} answers ${share} of ${test.n} questions right${beside}: ${points} points, interval ${from} to ${to}, ${judgement}.`;
}

function shareText({ rules }: Pick<RunScores, "rules">): string {
  const share = rules.paper?.individual.percent ?? null;
  return share === null ? "–" : percent(share);
}

/** @param methods that have greedy's verdict on every question, at least one */
function sameFinding(run: ReportRun, methods: readonly ReportMethod[]): string {
  const { paired, scored } = at(methods, 0);
  const labels = methods.map(({ label }) => label);
  const names = new Intl.ListFormat("en").format(labels);
  const n = paired?.paper?.n ?? 0;
  const verb = methods.length === 1 ? "changes" : "change";
  return `${run.label}: ${names} ${verb} no verdict beside greedy; ${shareText(scored)} of ${n} questions are answered right.`;
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
    ...(identity.mapLayer === undefined ? [] : [`--map-layer ${identity.mapLayer}`]),
    ...boxOptions(identity.boxes),
    ...(identity.referenceQuirks === true ? ["--reference-quirks"] : []),
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

/** The options of a run's boxes, which are the data folder's own or in a file that only its user knows. */
function boxOptions(boxes: BoxIdentity | undefined): readonly string[] {
  if (boxes === undefined) return ["--no-boxes"];
  const { scale, maxBoxes, objects } = boxes;
  return [
    ...(scale === 1 ? [] : [`--box-scale ${scale}`]),
    ...(maxBoxes === null ? [] : [`--max-boxes ${maxBoxes}`]),
    ...(objects === "named" ? [] : [`--box-objects ${objects}`]),
  ];
}
