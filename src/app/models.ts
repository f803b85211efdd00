// Models on servers and models that are kept: the page's state of them as signals, and its actions.

import { computed, signal } from "@preact/signals";
import type { KeepProgress, KeptForm, KeptModel } from "../store/model-store.ts";
import { STORE_FOLDER } from "../store/opfs-files.browser.ts";
import type { RemoteModel } from "../store/remote-model.ts";
import { DownloadRate } from "./draw/download-rate.ts";
import { byteSize } from "./draw/words.ts";
import { failureOf } from "./engine/failure.ts";
import type { FormView, ModelOffer, ShelfView, SpeedView } from "./models-protocol.ts";
import { engine, loadCheckpoint } from "./session.ts";
import { announcement, notices, notify } from "./state.ts";

/** A download that runs. */
export interface Keeping {
  readonly remote: RemoteModel;
  readonly form: KeptForm;
  readonly progress: KeepProgress | undefined;
  readonly bytesPerSecond: number | undefined;
}

/** What is kept; undefined until the chooser is opened. */
export const shelf = signal<ShelfView | undefined>(undefined);
/** Why nothing can be kept in this browser. */
export const shelfProblem = signal<string | undefined>(undefined);
/** The text of the model field. */
export const modelText = signal("");
/** The name that is being looked up. */
export const lookingUp = signal<string | undefined>(undefined);
/** The model that was looked up. */
export const offer = signal<ModelOffer | undefined>(undefined);
/** The form that the person chose for it; undefined while the page chooses. */
export const chosenForm = signal<KeptForm | undefined>(undefined);
/** Measured speeds of the offer, by form. */
export const speeds = signal<ReadonlyMap<KeptForm, SpeedView>>(new Map());
/** Whether a speed is being measured. */
export const isMeasuring = signal(false);
/** The running download. */
export const keeping = signal<Keeping | undefined>(undefined);

/** The GPU's memory in GiB, as the person states it: WebGPU does not say. */
export const memoryGib = signal(8);
/** Memory sizes to choose from, GiB. */
export const MEMORY_SIZES: readonly number[] = [2, 4, 6, 8, 12, 16, 24, 32, 48, 80];

/** Whether a form fits into the stated memory. */
export function isFit({ neededBytes, problem }: FormView): boolean {
  return problem === undefined && neededBytes <= memoryGib.value * 2 ** 30;
}

/** The form that the offer is downloaded in: the chosen one, else the most exact one that fits, else the smallest. */
export const formToKeep = computed<FormView | undefined>(() => {
  const forms = offer.value?.forms ?? [];
  const chosen = forms.find(({ form }) => form === chosenForm.value);
  return chosen ?? forms.find(isFit) ?? forms.findLast(({ problem }) => problem === undefined) ?? forms.at(-1);
});

/** Reads what is kept. */
export async function readShelf(): Promise<void> {
  try {
    shelf.value = await engine.shelf();
    shelfProblem.value = undefined;
  } catch (error) {
    shelfProblem.value = failureOf(error).message;
  }
}

/** As {@link readShelf} if this web site has a store; a visitor who keeps nothing need not fetch what reads it. */
export async function readShelfIfAny(): Promise<void> {
  try {
    const root = await navigator.storage.getDirectory();
    await root.getDirectoryHandle(STORE_FOLDER);
  } catch {
    return; // there is none, or this browser or address offers no storage, which the list of models says when it is opened
  }
  await readShelf();
}

/** Asks a server about the model in the field. */
export async function lookUp(text: string): Promise<void> {
  if (lookingUp.value !== undefined) return;
  modelText.value = text;
  lookingUp.value = text;
  offer.value = undefined;
  chosenForm.value = undefined;
  speeds.value = new Map();
  forgetNotices();
  try {
    offer.value = await engine.lookUp(text);
    announcement.value = `${offer.value.remote.name} was found, ${byteSize(offer.value.downloadBytes)} to download.`;
  } catch (error) {
    notify("The model could not be looked up", failureOf(error));
  } finally {
    lookingUp.value = undefined;
  }
}

/** Measures the speed of the offer in a form. */
export async function measureOffer(form: KeptForm): Promise<void> {
  const measured = offer.value;
  if (measured === undefined || isMeasuring.value) return;
  isMeasuring.value = true;
  try {
    const speed = await engine.measure(measured.remote, form);
    if (offer.value === measured) speeds.value = new Map(speeds.value).set(form, speed);
  } catch (error) {
    notify("The speed could not be measured", failureOf(error));
  } finally {
    isMeasuring.value = false;
  }
}

/** Downloads a model, or goes on with its download, and loads it. */
export async function keepModel(remote: RemoteModel, form: KeptForm): Promise<void> {
  if (keeping.value !== undefined) return;
  const rate = new DownloadRate();
  keeping.value = { remote, form, progress: undefined, bytesPerSecond: undefined };
  forgetNotices();
  let kept: KeptModel | undefined;
  try {
    kept = await engine.keep(remote, form, (progress) => {
      rate.note(progress.receivedBytes, performance.now());
      if (keeping.value !== undefined) {
        keeping.value = { ...keeping.value, progress, bytesPerSecond: rate.bytesPerSecond };
      }
    });
    announcement.value = `${remote.name} is kept here.`;
  } catch (error) {
    const failure = failureOf(error);
    if (failure.kind === "stopped") announcement.value = "The download is paused.";
    else notify(`${remote.name} could not be downloaded`, failure);
  } finally {
    keeping.value = undefined;
    await readShelf();
  }
  if (kept !== undefined) await loadKept(kept);
}

/** Stops the running download; what has come is kept. */
export async function pauseDownload(): Promise<void> {
  await engine.pause().catch(() => undefined); // a crashed worker downloads nothing
}

/** Loads a model that is kept. */
export async function loadKept({ key, remote }: KeptModel): Promise<void> {
  await loadCheckpoint({ kind: "kept", key, name: remote.name }, remote.name);
}

/** Removes a model that is kept. */
export async function removeKept({ key, remote }: KeptModel): Promise<void> {
  try {
    await engine.remove(key);
    announcement.value = `${remote.name} is deleted.`;
  } catch (error) {
    notify(`${remote.name} could not be deleted`, failureOf(error));
  }
  await readShelf();
}

/** Asks the browser not to remove what is kept by itself. @returns whether it agreed */
export async function askToPersist(): Promise<boolean> {
  const isPersistent = await navigator.storage.persist().catch(() => false);
  await readShelf();
  return isPersistent;
}

/** Key of the stored memory; specific to this page, since other pages share the origin. */
const STORED = "adaptvis gpu memory";

/** States the GPU's memory, which is remembered. */
export function stateMemory(gib: number): void {
  memoryGib.value = gib;
  try {
    localStorage.setItem(STORED, String(gib));
  } catch {
    // Storage may be blocked; the choice then lasts until the page is closed.
  }
}

/** Reads the memory that was stated at an earlier visit. */
export function recallMemory(): void {
  try {
    const stored = Number(localStorage.getItem(STORED));
    if (MEMORY_SIZES.includes(stored)) memoryGib.value = stored;
  } catch {
    // as above
  }
}

/** Notices about models and room do not apply to the next attempt. */
function forgetNotices(): void {
  notices.value = notices.value.filter(({ failure }) => !["checkpoint", "storage", "input"].includes(failure.kind));
}
