// Which questions depend on each other, for intervals that resample whole clusters.
import type { DataSet, Question } from "../datasets/dataset.ts";

/** The ordered pair of objects of a question as one text; null for a question that does not name two objects. */
export function objectPairOf({ objects }: Question): string | null {
  return objects === null || objects.second === null ? null : JSON.stringify([objects.first, objects.second]);
}

/** The cluster of a question: its ordered pair of objects, or else its picture, or else its own id. */
export function clusterOf(question: Question): string | number {
  return objectPairOf(question) ?? question.picture ?? question.id;
}

/** What the clusters of some questions are, in a sentence for reports. */
export function describeClusters(questions: readonly Question[], { name }: DataSet): string {
  const numPaired = questions.filter((question) => objectPairOf(question) !== null).length;
  const numPictured = questions.filter(({ picture }) => picture !== undefined).length;
  if (numPaired === 0 && numPictured > 0) {
    const others =
      numPictured === questions.length ? "" : "; a question whose picture the file does not name is its own cluster";
    return `A cluster is all questions about one picture of ${name}${others}.`;
  }
  const pictures = "The question file names no pictures, so questions about one picture are not kept together";
  if (numPaired === 0) {
    return `Each question of ${name} is a cluster of its own, because none names two objects. ${pictures}.`;
  }
  const others = numPaired === questions.length ? "" : "; a question that does not name two objects is its own cluster";
  return `A cluster is all questions about one ordered pair of objects${others}. ${pictures} beyond that.`;
}
