// The report's gallery: questions with their pictures and the attention before and after a method, small enough for one file.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { at, InputError, isObject, throwIfAborted } from "../../errors.ts";
import { enlarge, heatColor, overlayAttention } from "../../inspect/heat-map.ts";
import { readImageFile } from "../../preprocess/decode-image.node.ts";
import type { RgbImage } from "../../preprocess/image.ts";
import { fitToSquare, type ImageProcessorConfig } from "../../preprocess/image-processor.ts";
import { loadSharp } from "../../preprocess/sharp.node.ts";
import { ANSWER_CHANGES, type AnswerChange, classifyChange } from "../answer-changes.ts";
import type { Question } from "../datasets/dataset.ts";
import type { ReportMethod, ReportRun, StoredMap } from "./report-run.ts";

/** A card of the gallery. */
export interface GalleryEntry {
  readonly run: ReportRun;
  readonly method: ReportMethod;
  readonly question: Question;
  readonly change: AnswerChange;
  readonly before: string;
  readonly after: string;
  readonly confidence: number | null;
  /** Of the scores on the picture, as the method chose it; null where it did not. */
  readonly factor: number | null;
  /** Data URI; null where the picture is missing. */
  readonly picture: string | null;
  readonly maps: { readonly before: DrawnMap | null; readonly after: DrawnMap | null };
}

/** A drawn map and its numbers. */
export interface DrawnMap {
  /** Data URI. */
  readonly image: string;
  /** Whether it lies over the picture; else it is the map alone. */
  readonly isOverlay: boolean;
  readonly layer: number;
  /** Of that layer; null where the line has none. */
  readonly share: number | null;
  readonly entropy: number | null;
  /** The largest value, as a share of all attention. */
  readonly peak: number;
}

/** The gallery, with what it leaves out. */
export interface Gallery {
  readonly entries: readonly GalleryEntry[];
  /** Of all answers, by change. */
  readonly numbers: Readonly<Record<AnswerChange, number>>;
  /** Pictures of shown questions that could not be read, by name. */
  readonly missing: readonly string[];
}

/** Longest side of a picture, and side of a map, pixels. */
const PICTURE_SIDE = 256;
const MAP_SIDE = 192;

/** An answer that may be shown. */
interface Candidate {
  readonly run: ReportRun;
  readonly method: ReportMethod;
  readonly question: Question;
  readonly change: AnswerChange;
}

/**
 * Chooses and draws the cards: changed answers first, taken in turn from every run, method and kind of change.
 * @param options.limit most cards
 * @param options.folders folders that pictures may be in, beside those of the runs' question files
 * @throws InputError when sharp cannot be loaded; AbortError.
 */
export async function makeGallery(
  runs: readonly ReportRun[],
  options: {
    readonly limit: number;
    readonly folders: (run: ReportRun) => readonly string[];
    readonly signal?: AbortSignal;
  },
): Promise<Gallery> {
  const candidates = runs.flatMap(candidatesOf);
  const chosen = inTurn(candidates, options.limit);
  const pictures = new Map<string, RgbImage | null>();
  const missing = new Set<string>();
  const entries: GalleryEntry[] = [];
  for (const candidate of chosen) {
    throwIfAborted(options.signal, "The report");
    const { run, method, question } = candidate;
    const name = method.lines.get(question.id)?.image ?? run.greedy?.lines.get(question.id)?.image ?? null;
    const path =
      name === null
        ? undefined
        : options
            .folders(run)
            .map((folder) => join(folder, name))
            .find(existsSync);
    let picture: RgbImage | null = null;
    if (path !== undefined) {
      picture = pictures.get(path) ?? (await readPicture(path));
      pictures.set(path, picture);
    }
    if (picture === null && name !== null) missing.add(name);
    entries.push(await drawEntry(candidate, picture));
  }
  const numbers = ANSWER_CHANGES.map((change) => [change, candidates.filter((each) => each.change === change).length]);
  return {
    entries,
    numbers: Object.fromEntries(numbers) as Gallery["numbers"], // one entry per change
    missing: [...missing],
  };
}

/** A picture, or null where it is damaged: the gallery counts it as missing. */
async function readPicture(path: string): Promise<RgbImage | null> {
  try {
    return await readImageFile(path);
  } catch (error) {
    if (error instanceof InputError && !/sharp cannot be loaded/.test(error.message)) return null;
    throw error;
  }
}

function candidatesOf(run: ReportRun): readonly Candidate[] {
  const { greedy, dataSet } = run;
  if (greedy === undefined) return [];
  return run.methods.flatMap((method) =>
    method === greedy
      ? []
      : run.questions.flatMap((question, position) => {
          const [before, after] = [at(greedy.answers, position), at(method.answers, position)];
          const change =
            before === null || after === null ? null : classifyChange(before, after, { question, dataSet });
          return change === null ? [] : [{ run, method, question, change }];
        }),
  );
}

/** At most `limit` candidates: the changed ones before the unchanged ones, and one of each run, method and change in turn. */
function inTurn(candidates: readonly Candidate[], limit: number): readonly Candidate[] {
  const chosen: Candidate[] = [];
  for (const isChanged of [true, false]) {
    const groups = new Map<string, Candidate[]>();
    for (const candidate of candidates) {
      if ((candidate.change !== "unchanged") !== isChanged) continue;
      const key = JSON.stringify([candidate.run.id, candidate.method.name, candidate.change]);
      const group = groups.get(key) ?? [];
      group.push(candidate);
      groups.set(key, group);
    }
    const most = Math.max(0, ...[...groups.values()].map(({ length }) => length));
    for (let round = 0; round < most; round++) {
      for (const group of groups.values()) {
        const next = group[round];
        if (next !== undefined && chosen.length < limit) chosen.push(next);
      }
    }
  }
  const rank = ({ run, change }: Candidate) =>
    ANSWER_CHANGES.indexOf(change) * 1000 + Number(run.id.slice("run-".length));
  return chosen.sort((a, b) => rank(a) - rank(b));
}

async function drawEntry(candidate: Candidate, picture: RgbImage | null): Promise<GalleryEntry> {
  const { run, method, question } = candidate;
  const { greedy } = run;
  const line = method.lines.get(question.id);
  const ofGreedy = greedy?.lines.get(question.id);
  const seen = picture === null ? null : seenPicture(picture, run);
  const textOf = (of: ReportMethod | undefined) => of?.answers[question.id]?.text ?? "";
  const beforeMap = line?.unmodifiedMap ?? ofGreedy?.map ?? null;
  const numbersOf = (of: typeof line, layer: number) => ({
    share: of?.imageShare?.[layer] ?? null,
    entropy: of?.imageEntropy?.[layer] ?? null,
  });
  const draw = async (map: StoredMap | null, of: typeof line) =>
    map === null ? null : { ...(await drawMap(map, seen)), ...numbersOf(of, map.layer) };
  return {
    ...candidate,
    before: textOf(greedy),
    after: textOf(method),
    confidence: line?.confidence ?? ofGreedy?.confidence ?? null,
    factor: ["scaling", "adaptvis"].includes(method.method) ? (line?.factor ?? null) : null,
    picture: picture === null ? null : await jpegUri(picture, PICTURE_SIDE),
    maps: { before: await draw(beforeMap, ofGreedy), after: await draw(line?.map ?? null, line) },
  };
}

async function drawMap(
  map: StoredMap,
  seen: RgbImage | null,
): Promise<Pick<DrawnMap, "image" | "isOverlay" | "layer" | "peak">> {
  const { layer, rows: height, columns: width, values } = map;
  const peak = values.reduce((most, value) => Math.max(most, value), 0);
  if (seen === null) return { image: await jpegUri(mapAlone(map, peak), MAP_SIDE), isOverlay: false, layer, peak };
  const overlay = overlayAttention(seen, { values, width, height });
  return { image: await jpegUri(overlay, MAP_SIDE), isOverlay: true, layer, peak };
}

/** The map as squares, one per patch. */
function mapAlone({ rows, columns, values }: StoredMap, peak: number): RgbImage {
  const side = Math.max(1, Math.floor(MAP_SIDE / Math.max(rows, columns)));
  const [width, height] = [columns * side, rows * side];
  const data = new Uint8Array(width * height * 3);
  for (let pixel = 0; pixel < width * height; pixel++) {
    const [row, column] = [Math.floor(pixel / width / side), Math.floor((pixel % width) / side)];
    const value = at(values, row * columns + column);
    data.set(heatColor(peak > 0 ? value / peak : 0), pixel * 3);
  }
  return { width, height, data };
}

/** The picture as the model sees it, at the size of a drawn map; null where the manifest does not say how pictures were prepared. */
function seenPicture(picture: RgbImage, { manifest }: ReportRun): RgbImage | null {
  if (manifest.about.seesTiles === true) return enlarge(picture, MAP_SIDE); // all of it
  const processor = processorOf(manifest.about.imageProcessor);
  return processor && enlarge(fitToSquare(picture, processor), MAP_SIDE);
}

function processorOf(value: unknown): ImageProcessorConfig | null {
  if (!isObject(value) || typeof value.imageSize !== "number" || typeof value.centerCrop !== "boolean") return null;
  return { filter: "bicubic", padToSquare: false, resize: undefined, ...value } as unknown as ImageProcessorConfig; // as `eval` wrote it
}

async function jpegUri({ width, height, data }: RgbImage, side: number): Promise<string> {
  const sharp = await loadSharp();
  const jpeg = await sharp(data, { raw: { width, height, channels: 3 } })
    .resize({ width: side, height: side, fit: "inside", withoutEnlargement: true })
    .jpeg({ quality: 82 })
    .toBuffer();
  return `data:image/jpeg;base64,${jpeg.toString("base64")}`;
}
