// Answers in the form that a data set's own scorer reads, one file per method beside the results.
import { join } from "node:path";
import { readFileText } from "../../checkpoint/read-file.node.ts";
import { writeFileWhole } from "../../checkpoint/write-file.node.ts";
import { at } from "../../errors.ts";
import { SAMPLE_FIELDS } from "../answers/sample-lines.ts";
import type { DataSet, Question } from "../datasets/dataset.ts";
import { type JsonObject, readAllJsonLines } from "../json-lines.ts";

/**
 * Writes the answers of a run, in the order of the questions.
 * @param folder the run's; its results.jsonl is read
 * @returns paths of the files; none for a data set whose scorer has no form of its own
 */
export async function writeAnswerFiles(
  folder: string,
  of: { readonly dataSet: DataSet; readonly questions: readonly Question[]; readonly modelName: string },
): Promise<readonly string[]> {
  const { answerFile } = of.dataSet;
  if (answerFile === undefined) return [];
  const results = join(folder, "results.jsonl");
  const byMethod = new Map<string, JsonObject[]>();
  for (const { object } of readAllJsonLines(await readFileText(results), results)) {
    const method = String(object[SAMPLE_FIELDS.method]);
    const own = byMethod.get(method) ?? [];
    own.push(object);
    byMethod.set(method, own);
  }
  const paths: string[] = [];
  for (const [method, samples] of byMethod) {
    const lines = samples
      .toSorted((a, b) => Number(a.doc_id) - Number(b.doc_id))
      .map((sample) =>
        answerFile.line({
          question: at(of.questions, Number(sample.doc_id)),
          text: String((sample.filtered_resps as readonly unknown[])[0]), // as samples.ts writes it
          method,
          modelName: of.modelName,
          docHash: String(sample.doc_hash),
        }),
      );
    // A method's settings follow colons, which some file systems refuse in names.
    const path = join(folder, `${answerFile.name}-${method.replaceAll(/[^\w.=-]/g, "_")}.jsonl`);
    await writeFileWhole(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    paths.push(path);
  }
  return paths;
}
