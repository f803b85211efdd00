// The page's module: everything of the worker client, with a model that it keeps, in the packed package.
// The test bundles it with the package's modules in the place of src.
import { CheckpointError, InputError } from "../../src/index.browser.ts";
import { openModelStore } from "../../src/store/index.browser.ts";
import { WorkerModel, type WorkerProgress } from "../../src/worker/index.browser.ts";
import { type HostAnswer, QUESTION, testPicture } from "../hosts/ask.ts";

/** What the test compares. */
export async function run(): Promise<unknown> {
  const start = () => new Worker("/host/worker.js", { type: "module" });
  const address = new URL("/model/", location.href).href;
  const phases = new Set<string>();
  const onProgress = ({ phase }: WorkerProgress) => void phases.add(phase);
  const model = await WorkerModel.load(address, { worker: start(), keep: "file", onProgress });
  const failure = (work: Promise<unknown>) =>
    work.then(
      () => "no error",
      (error: unknown) => error,
    );

  // An answer by its tokens and as a whole.
  const stages: string[] = [];
  const asked = {
    image: testPicture(),
    question: QUESTION,
    method: "adaptvis",
    maxNewTokens: 6,
    ignoreEos: true,
  } as const;
  const stream = model.ask({
    ...asked,
    topLogProbs: 5,
    attention: { layer: 1 },
    onStage: (stage) => stages.push(stage),
  });
  const ids: number[] = [];
  for await (const { tokenId } of stream) ids.push(tokenId);
  const answer = await stream.answer;
  const host: HostAnswer = {
    text: answer.text,
    ids,
    factor: answer.factor,
    confidence: answer.confidence,
    logProbs: answer.tokens[0]?.top.map(({ logProb }) => logProb) ?? [],
  };

  // A conversation about a picture file, which the worker decodes.
  const session = model.session();
  const file = await (await fetch("/picture.jpeg")).blob();
  const content = [{ type: "image", image: file } as const, { type: "text", text: QUESTION } as const];
  const first = await session.ask({ role: "user", content }).answer;
  const second = await session.ask("Where is the dog in relation to the mug?", { maxNewTokens: 4 }).answer;
  const roles = session.messages.map(({ role }) => role);
  session.close();
  const closed = await failure(session.ask("Where?").answer);

  // A loop that is left stops the answer, and the next one runs.
  const left = model.ask({ ...asked, maxNewTokens: 60 });
  for await (const _ of left) break;
  const stopped = await failure(left.answer);
  const after = await model.ask(asked).answer;

  const wrong = await failure(model.ask({ question: "What?", factor: 2 }).answer);
  const running = model.ask({ ...asked, maxNewTokens: 60 });
  const disposed = failure(running.answer);
  model.dispose();

  const missing = await failure(WorkerModel.load(new URL("/nothing/", location.href).href, { worker: start() }));
  const noWorker = await failure(WorkerModel.load(address, { worker: new Worker("/nothing.js", { type: "module" }) }));

  // A second visit: from the store, by name without a network, and by key.
  const code = `import "${new URL("/host/worker.js", location.href).href}"; globalThis.fetch = () => Promise.reject(new Error());`;
  const script = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const offline = await WorkerModel.load(address, { worker: new Worker(script, { type: "module" }), keep: "file" });
  offline.dispose();
  const store = openModelStore();
  const [kept] = await store.list();
  const again = await WorkerModel.load({ key: kept?.key ?? "" }, { worker: start() });
  const fromStore = await again.ask(asked).answer;
  again.dispose();
  await store.remove(kept?.key ?? "");
  return {
    host,
    phases: [...phases],
    name: model.name === address && offline.name === address,
    stages,
    layer: answer.attention?.used.layer,
    hasBoth: answer.attention?.unmodified !== undefined,
    conversation: [first.text.trim(), second.reusedTokens > 60, roles],
    closed: textOf(closed),
    stopped: textOf(stopped),
    after: after.tokens.map(({ tokenId }) => tokenId),
    wrong: [wrong instanceof InputError, textOf(wrong)],
    disposed: textOf(await disposed),
    missing: [missing instanceof CheckpointError, missing instanceof CheckpointError && missing.file],
    noWorker: textOf(noWorker),
    fromStore: fromStore.tokens.map(({ tokenId }) => tokenId),
    left: (await store.list()).length,
  };
}

function textOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

declare const location: { readonly href: string };
