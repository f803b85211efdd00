// What the page and its worker say to each other.

/** From the page. */
export type ToWorker =
  | { readonly kind: "ask"; readonly picture: File; readonly question: string }
  /** Ends the question that runs; the next one can be asked at once. */
  | { readonly kind: "stop" };

/** From the worker. */
export type ToPage =
  | { readonly kind: "token"; readonly text: string }
  | { readonly kind: "answer"; readonly text: string; readonly confidence: number; readonly factor: number }
  | { readonly kind: "error"; readonly message: string };
