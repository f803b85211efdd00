// The worker's interface to the engine: failures as data, events before results, large arrays transferred.
import * as Comlink from "comlink";
import type { ExplainedPass } from "../../inspect/explained-pass.ts";
import type { RgbImage } from "../../preprocess/image.ts";
import type { KeepProgress, KeptForm, KeptModel } from "../../store/model-store.ts";
import type { RemoteModel } from "../../store/remote-model.ts";
import type { ModelOffer, ModelsApi, ShelfView, SpeedView } from "../models-protocol.ts";
import type {
  AnswersView,
  AnswerView,
  AskEvent,
  AskRequest,
  ChatAnswerView,
  ChatRequest,
  CheckpointSource,
  CutView,
  EngineApi,
  EngineNotice,
  ExplanationView,
  LensView,
  LoadStep,
  MethodAnswerView,
  MethodChoice,
  MethodEvent,
  ModelView,
  WhichAnswer,
  WordsView,
} from "../protocol.ts";
import { type Outcome, outcomeOf } from "./failure.ts";

/** A function of the page, called from the worker. */
type Listener<T> = (event: T) => unknown;

/** The interface that the worker exposes: {@link EngineApi} with an {@link Outcome} for every promise. */
export class WorkerApi {
  private readonly engine: EngineApi;
  private readonly models: ModelsApi;

  constructor(engine: EngineApi, models: ModelsApi) {
    this.engine = engine;
    this.models = models;
  }

  /** See {@link EngineApi.load}. */
  load(source: CheckpointSource, onStep: Listener<LoadStep>): Promise<Outcome<ModelView>> {
    return this.told(onStep, (tell) => this.engine.load(source, tell));
  }

  /** See {@link EngineApi.decodePicture}. */
  decodePicture(file: Blob, name: string): Promise<Outcome<RgbImage>> {
    return outcomeOf(() => this.engine.decodePicture(file, name));
  }

  /** See {@link EngineApi.ask}. */
  ask(request: AskRequest, onEvent: Listener<AskEvent>): Promise<Outcome<AnswersView>> {
    return this.told(onEvent, (tell) => this.engine.ask(request, tell));
  }

  /** See {@link EngineApi.answerWithFactor}. */
  answerWithFactor(factor: number, onEvent: Listener<AskEvent>): Promise<Outcome<AnswerView>> {
    return this.told(onEvent, (tell) => this.engine.answerWithFactor(factor, tell));
  }

  /** See {@link EngineApi.answerBy}. */
  answerBy(method: MethodChoice, onEvent: Listener<MethodEvent>): Promise<Outcome<MethodAnswerView>> {
    return this.told(onEvent, (tell: Listener<MethodEvent>) => this.engine.answerBy(method, tell));
  }

  /** See {@link EngineApi.cut}. */
  cut(method: MethodChoice, cells: readonly number[], onEvent: Listener<MethodEvent>): Promise<Outcome<CutView>> {
    return this.told(onEvent, (tell: Listener<MethodEvent>) => this.engine.cut(method, cells, tell));
  }

  /** See {@link EngineApi.chat}. */
  chat(request: ChatRequest, onEvent: Listener<MethodEvent>): Promise<Outcome<ChatAnswerView>> {
    return this.told(onEvent, (tell: Listener<MethodEvent>) => this.engine.chat(request, tell));
  }

  /** See {@link EngineApi.words}. */
  async words(which: WhichAnswer, layer: number): Promise<Outcome<WordsView>> {
    const outcome = await outcomeOf(() => this.engine.words(which, layer));
    if (!outcome.isOk) return outcome;
    const maps = outcome.value.pictures.flatMap(({ tokens }) => tokens.map(({ values }) => values.buffer));
    return Comlink.transfer(outcome, maps);
  }

  /** See {@link EngineApi.lens}. */
  lens(cell: number): Promise<Outcome<LensView>> {
    return outcomeOf(() => this.engine.lens(cell));
  }

  /** See {@link EngineApi.trace}. */
  async trace(): Promise<Outcome<Uint8Array<ArrayBuffer>>> {
    const outcome = await outcomeOf(() => this.engine.trace());
    return outcome.isOk ? Comlink.transfer(outcome, [outcome.value.buffer]) : outcome;
  }

  /** See {@link EngineApi.explain}. */
  async explain(onPass: Listener<ExplainedPass>): Promise<Outcome<ExplanationView>> {
    const outcome = await this.told(onPass, (tell: Listener<ExplainedPass>) => this.engine.explain(tell));
    if (!outcome.isOk) return outcome;
    const pictures = outcome.value.passes.flatMap(({ outputs }) => outputs.map(({ picture }) => picture.values.buffer));
    return Comlink.transfer(outcome, [...new Set(pictures)]);
  }

  /** See {@link EngineApi.stop}. */
  stop(): Promise<Outcome<void>> {
    return outcomeOf(() => this.engine.stop());
  }

  /** See {@link EngineApi.watch}. */
  watch(onNotice: Listener<EngineNotice>): Promise<Outcome<void>> {
    return outcomeOf(() => this.engine.watch((notice) => void onNotice(notice)));
  }

  /** See {@link ModelsApi.lookUp}. */
  lookUp(text: string): Promise<Outcome<ModelOffer>> {
    return outcomeOf(() => this.models.lookUp(text));
  }

  /** See {@link ModelsApi.measure}. */
  measure(remote: RemoteModel, form: KeptForm): Promise<Outcome<SpeedView>> {
    return outcomeOf(() => this.models.measure(remote, form));
  }

  /** See {@link ModelsApi.keep}. */
  keep(remote: RemoteModel, form: KeptForm, onProgress: Listener<KeepProgress>): Promise<Outcome<KeptModel>> {
    return this.told(onProgress, (tell) => this.models.keep(remote, form, tell));
  }

  /** See {@link ModelsApi.pause}. */
  pause(): Promise<Outcome<void>> {
    return outcomeOf(() => this.models.pause());
  }

  /** See {@link ModelsApi.shelf}. */
  shelf(): Promise<Outcome<ShelfView>> {
    return outcomeOf(() => this.models.shelf());
  }

  /** See {@link ModelsApi.remove}. */
  remove(key: string): Promise<Outcome<void>> {
    return outcomeOf(() => this.models.remove(key));
  }

  /** Runs `work`, and returns after the page has received all of its events: message ports do not order among each other. */
  private async told<E, T>(listener: Listener<E>, work: (tell: (event: E) => void) => Promise<T>): Promise<Outcome<T>> {
    const heard: unknown[] = [];
    const outcome = await outcomeOf(() => work((event) => void heard.push(listener(event))));
    await Promise.all(heard);
    return outcome;
  }
}
