// What a data set has to say about itself: its rows, its options, its prompt and when an answer is right.

import type { AdaptVisSettings } from "../../interventions/adaptvis.ts";
import type { ConfidenceMeasure } from "../../interventions/intervention.ts";
import type { Size } from "../../preprocess/resize-bicubic.ts";
import type { JsonObject } from "../json-lines.ts";
import type { ChoiceOption } from "./vlmevalkit-tsv.ts";

/** The two objects that a question relates; `second` is null where it asks for the place of one object in the picture. */
export interface QuestionObjects {
  readonly first: string;
  readonly second: string | null;
}

/** One row of a data set. */
export interface Question {
  /** 0-based row in the question file, which is also the row of the annotation file. */
  readonly id: number;
  /** The question as the file has it, without a picture. */
  readonly text: string;
  /** The right answer as the file has it, such as "On"; empty where the file has none, so that no rule judges the answer. */
  readonly gold: string;
  /** Options of this question in lower case; those of the data set unless the file says otherwise; none for free answers. */
  readonly options: readonly string[];
  /** The relation that results are grouped by, in lower case; null where the file has none. */
  readonly relation: string | null;
  /** The objects of the question; null where its text names none. */
  readonly objects: QuestionObjects | null;
  /** What results are grouped by where there is no relation: the benchmark's category, as the file spells it. */
  readonly category?: string | undefined;
  /** The options of a multiple-choice question, whose `options` are their letters. */
  readonly choices?: readonly ChoiceOption[] | undefined;
  /** Name of the picture, where the question file has it. */
  readonly picture?: string | undefined;
  /** The row as the file has it, for scores and files in the data set's own form. */
  readonly row?: JsonObject | undefined;
}

/** Where a row was read, for messages. */
export interface RowPlace {
  readonly file: string;
  readonly lineNumber: number;
  /** 0-based row. */
  readonly id: number;
}

/** Settings that the paper's authors published for LLaVA-1.5-7B. */
export interface PublishedSettings {
  /** ScalingVis' factor. */
  readonly factor: number;
  readonly adaptvis: AdaptVisSettings;
}

/** A row of the annotation file, for messages. */
export interface AnnotationPlace {
  readonly file: string;
  /** 0-based row. */
  readonly id: number;
}

/** How the authors' code, and so the published numbers, judge an answer. */
export interface AuthorsRule {
  /** Its name in tables; "paper's rule" where undefined. */
  readonly title?: string;
  /** Whether `text` counts as the answer `gold`, which is spelled as in the question file. */
  readonly isRight: (text: string, gold: string, question: Question) => boolean;
  /** The rule in one sentence. */
  readonly definition: string;
}

/** What the authors' code does on a data set against the paper; see run/reference-quirks.ts. */
export interface ReferenceQuirks {
  /** What AdaptVis compares with beta. */
  readonly gate: ConfidenceMeasure;
  /** Size to which pictures are resized before the image processor sees them. */
  readonly pictureSize: Size;
}

/** A question and its answer's text, which is null where the question has not been answered. */
export interface BenchmarkAnswer {
  readonly question: Question;
  readonly text: string | null;
}

/** Numbers that a benchmark defines beyond accuracy, such as MME's accuracy+: row name → column name → number. */
export type BenchmarkScores = Readonly<Record<string, Readonly<Record<string, number | null>>>>;

/** How a benchmark scores answers by its own definition. */
export interface BenchmarkScoring {
  /** What the numbers are, in a few sentences. */
  readonly definition: string;
  /** @param answers one per question of the part that was asked, in the order of the rows. */
  readonly score: (answers: readonly BenchmarkAnswer[]) => BenchmarkScores;
}

/** One answer, for a file in a data set's own form. */
export interface WrittenAnswer {
  readonly question: Question;
  readonly text: string;
  readonly method: string;
  /** Name of the checkpoint's folder. */
  readonly modelName: string;
  /** SHA-256 of the document, in hexadecimal. */
  readonly docHash: string;
}

/** A file of answers in the form that a data set's own scorer reads, one per method. */
export interface AnswerFileForm {
  /** First part of the files' names, which the method follows. */
  readonly name: string;
  /** The object of one line. */
  readonly line: (answer: WrittenAnswer) => JsonObject;
}

/** A data set. A new one is a file in this folder and a line in registry.ts. */
export interface DataSet {
  /** Its name in options and reports. */
  readonly name: string;
  /** Other names, such as those of the authors' code; compared without regard to case. */
  readonly aliases: readonly string[];
  /** What it asks, in one phrase for help texts. */
  readonly summary: string;
  /** Number of rows of the published file; undefined where the format has no fixed number. */
  readonly numRows: number | undefined;
  /** Options in lower case, in the order in which the prompt lists them. */
  readonly options: readonly string[];
  /** Whether the answers are yes and no, so that true and false positives are counted. */
  readonly isYesNo: boolean;
  /** Relations that form a pair when both are asked about the same two objects; empty where pairs are not scored. */
  readonly pairAxes: readonly (readonly [string, string])[];
  /** Published settings for LLaVA-1.5-7B; null where there are none. */
  readonly published: PublishedSettings | null;
  /** Oddities of the authors' code on this data set. */
  readonly referenceQuirks?: ReferenceQuirks;
  /** The part that is asked by default, where it is not the paper's test half. */
  readonly defaultSplit?: "all";
  /** Longest answer, in tokens. */
  readonly maxNewTokens: number;
  /** The part of the prompt before the question, where recorded prompts hold only that. */
  readonly promptHead: string | undefined;
  /** The whole prompt of a question, with `<image>` in place of the picture. */
  readonly prompt: (question: Question) => string;
  /** The only form of its prompts, where its authors use each model's own chat template: `prompt` is then fed to no model. */
  readonly promptForm?: "template";
  readonly authorsRule: AuthorsRule;
  /** Numbers of its own beyond accuracy. */
  readonly benchmark?: BenchmarkScoring;
  /** A file of answers that its own scorer reads. */
  readonly answerFile?: AnswerFileForm;
  /** The form of its question file: JSON lines unless given, VLMEvalKit's TSV, or a folder or list of pictures. */
  readonly form?: "tsv" | "pictures";
  /**
   * Names that its files may have in a data folder; the first that is there counts. Without names of annotations, the rows of
   * the question file name the pictures.
   */
  readonly files: { readonly questions: readonly string[]; readonly annotations: readonly string[] };
  /**
   * Paths that the picture of a row of the annotation file may have in a data folder; the first that is there counts. None for
   * a question of a text file that has no picture.
   * @throws InputError for a row without a picture.
   */
  readonly pictures: (row: unknown, place: AnnotationPlace) => readonly string[];
  /** Reads a row of the question file. @throws InputError for a row that lacks a part or has an unknown answer. */
  readonly readQuestion: (row: JsonObject, place: RowPlace) => Question;
}
