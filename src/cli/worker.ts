// adaptvis worker: answers the questions that `adaptvis eval --queue` puts on a queue.
import { dirname } from "node:path";
import { type Command, Option } from "commander";
import { at, InputError } from "../errors.ts";
import { dataSetNamed } from "../evaluate/datasets/registry.ts";
import { type DataFolder, isMissing, readDataFolder } from "../evaluate/run/data-folder.node.ts";
import { checkpointFingerprint } from "../evaluate/run/fingerprint.node.ts";
import { QUEUE_TIMES, type RunOffer } from "../evaluate/run/queue.node.ts";
import { type AnswerQuestion, serveQueue } from "../evaluate/run/queue-worker.node.ts";
import { RedisLink } from "../evaluate/run/redis-link.node.ts";
import { differences, type RunIdentity } from "../evaluate/run/run-folder.node.ts";
import { answerTask, type PromptForm } from "../evaluate/run/samples.ts";
import { boxesOfFlags, type FoundBoxes } from "./box-flags.ts";
import { numberFrom, someText } from "./checks.ts";
import { redisUrl } from "./eval-queue.ts";
import { identityOf, type ModelFacts, type RunRequest, readModelFacts, readTask, settingsOfRun } from "./eval-setup.ts";
import { type FoundModel, findModel } from "./find-model.ts";
import { addModelOptions, type ModelFlags } from "./flags.ts";
import { type OpenModel, openModel } from "./open-model.ts";
import { examples, packageVersion } from "./package-files.ts";
import { defineCommand, type Session } from "./session.ts";

/** Parsed options of `worker`. */
interface WorkerFlags extends ModelFlags {
  readonly queue: string;
  readonly dataDir?: string;
  readonly questions?: string;
  readonly annotations?: string;
  readonly boxes?: string;
  readonly exitWhenDone?: boolean;
  readonly claimSeconds?: number;
}

/** `adaptvis worker`. */
export const workerCommand = defineCommand("worker", describeWorker, work);

/** Describes `worker` to commander. */
function describeWorker(command: Command): Command {
  command
    .description("Answer questions that adaptvis eval --queue has put on a queue, on any number of machines.")
    .requiredOption("--queue <url>", "Redis or Valkey, such as redis://host:6379", redisUrl)
    .option("--data-dir <folder>", "folder with the data set's files and pictures (default: as eval has it)", someText)
    .option("--questions <file>", "question file, where it is not in the folder under its usual name", someText)
    .option("--annotations <file>", "annotation file, likewise", someText)
    .option("--boxes <path>", "object boxes of a run that has them (default: where eval has them)", someText);
  return addModelOptions(command, "the checkpoint that eval was given (default: the embedded tiny-spatial)")
    .option("--exit-when-done", "end once all questions are answered, instead of waiting for more")
    .addOption(
      new Option("--claim-seconds <number>", "a question is given to another worker when its own is silent for so long")
        .argParser(numberFrom({ least: 1 }))
        .hideHelp(), // for tests, which cannot wait a minute
    )
    .addHelpText(
      "after",
      examples(() => ["worker --queue redis://localhost:6379 --exit-when-done"]),
    );
}

/** Runs `worker`. */
async function work(session: Session, flags: WorkerFlags): Promise<void> {
  const found = await findModel(session, flags);
  const facts = await readModelFacts(found.folder, flags, session.signal);
  const note = (text: string) => session.note(text);
  const claimMs = flags.claimSeconds && flags.claimSeconds * 1000;
  const times = claimMs === undefined ? QUEUE_TIMES : { ...QUEUE_TIMES, lockMs: claimMs, stalledMs: claimMs / 2 };
  const link = await RedisLink.open(flags.queue, { patienceMs: times.patienceMs, note });
  let open: OpenModel | undefined;
  const join = async (offer: RunOffer): Promise<AnswerQuestion> => {
    const { data, boxes, settings } = await checkOffer(session, offer, { found, flags, facts });
    open ??= await openModel(session, flags);
    const { model } = open;
    note(`adaptvis: answering questions of ${offer.name} (${offer.identity.dataset})`);
    return async (id, signal) => answerTask(model, await readTask(data, id, boxes), { ...settings, signal });
  };
  try {
    note(`adaptvis: waiting for questions on ${link.name}`);
    const { signal } = session;
    const report = await serveQueue(link, { join, exitWhenDone: flags.exitWhenDone === true, times, signal, note });
    session.result({ ...report, ...open?.facts() });
    session.print(
      `${report.numAnswered} questions answered, ${report.numFailed} failed, ${report.numGivenBack} given back\n`,
    );
  } finally {
    link.close();
    open?.close();
  }
}

/** Reads the data of a run, and checks that its answers would be those of the run. @throws InputError in one sentence that says what differs. */
async function checkOffer(
  session: Session,
  offer: RunOffer,
  { found, flags, facts }: { readonly found: FoundModel; readonly flags: WorkerFlags; readonly facts: ModelFacts },
) {
  const { identity, name, version } = offer;
  if (version !== packageVersion()) {
    throw new InputError(`${name} was made by adaptvis ${version}, this is ${packageVersion()}: use the same version.`);
  }
  const refuseWhatDiffers = (own: RunIdentity) => {
    const found = differences(identity, own);
    if (found.length === 0) return;
    throw new InputError(
      `${name} is a run with ${found.join(", ")}: give the worker the checkpoint, data and dtypes that eval was given.`,
    );
  };
  const model = await checkpointFingerprint(found.folder);
  refuseWhatDiffers({ ...identity, model }); // before the run's settings are applied to another model
  const dataSet = dataSetNamed(identity.dataset);
  const data = await readDataFolder(dataSet, {
    folder: flags.dataDir ?? offer.data.folder,
    questions: flags.questions ?? offer.data.questions ?? undefined,
    annotations: flags.annotations ?? offer.data.annotations ?? undefined,
  });
  const boxes = await boxesOfOffer(session, offer, { flags, data });
  const request: RunRequest = {
    dataSet,
    methods: offer.methods,
    promptForm: identity.prompts as PromptForm, // as eval wrote it; another one differs below
    maxNewTokens: identity.maxNewTokens,
    maxRows: offer.maxRows,
    hasQuirks: identity.referenceQuirks === true,
    mapLayer: identity.mapLayer,
    boxes,
  };
  const settings = await settingsOfRun(request, facts, session.signal);
  const { split, ids } = identity;
  refuseWhatDiffers(await identityOf({ model, facts, data, settings, boxes, split, ids }));
  const missing = offer.ids.map((id) => at(data.pictures, id)).filter(isMissing);
  if (missing.length > 0) {
    const { name: first } = at(missing, 0);
    throw new InputError(
      `${missing.length} of ${offer.ids.length} pictures of ${name} are missing here, such as ${first}.`,
    );
  }
  return { data, boxes, settings };
}

/** The boxes of a run, here or where eval has them; undefined where it has none. */
async function boxesOfOffer(
  session: Session,
  { identity, boxes: there, ids }: RunOffer,
  { flags, data }: { readonly flags: WorkerFlags; readonly data: DataFolder },
): Promise<FoundBoxes | undefined> {
  const { boxes } = identity;
  if (boxes === undefined) return undefined;
  const { scale: boxScale, maxBoxes, objects: boxObjects } = boxes;
  const path = flags.boxes ?? there;
  if (path === null) throw new RangeError("the offer of a run with boxes does not say where they are");
  const pictures = ids.map((id) => at(data.pictures, id).name);
  const most = maxBoxes === null ? {} : { maxBoxes };
  return boxesOfFlags(session, { boxes: path, boxScale, boxObjects, ...most }, { folder: dirname(path), pictures });
}
