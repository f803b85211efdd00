// Which tokens may follow, so that a text can still become one of a grammar's. The automaton is made deterministic as far as texts need it:
// a place is all that the automaton may be in the middle of after the same bytes, and what follows from it is computed once.
import { at } from "../../errors.ts";
import type { Automaton } from "./grammar.ts";
import type { TokenTrie } from "./token-trie.ts";

/** A state and the calls that it is within: where the text goes on when the rule has ended. */
interface Frame {
  readonly id: number;
  readonly state: number;
  readonly caller: Frame | undefined;
}

/** All frames that the automaton can be in after the same bytes. */
export interface Place {
  /** Those that read a byte next. */
  readonly frames: readonly Frame[];
  /** Whether the text may end here. */
  readonly isEnd: boolean;
  /** [256] the places that bytes lead to; null where none does, undefined where it has not been found out. */
  readonly next: (Place | null | undefined)[];
}

/** A text that cannot be followed, because too much of the grammar matches it at once. */
export class AmbiguityError extends Error {
  override readonly name = "AmbiguityError";
}

/** Frames of a place, and those that are passed on the way to one. */
const MAX_FRAMES = 5000;
/** Frames that may be looked at for one set of tokens. */
const MAX_WORK = 1_000_000;
/** Places that are kept; each takes some kilobytes. Where there are more, they are all computed again when they are needed. */
const MAX_PLACES = 10_000;
/** Sets of tokens that are kept: places within texts come again and again. */
const MAX_MASKS = 64;

/** The places of a grammar over a vocabulary. */
export class GrammarPlaces {
  private readonly automaton: Automaton;
  private readonly trie: TokenTrie;
  private readonly endIds: readonly number[];
  private readonly frames = new Map<number, Map<number, Frame>>();
  private readonly places = new Map<string, Place>();
  private readonly masks = new Map<Place, Uint32Array<ArrayBuffer>>();
  private numFrames = 0;
  private work = 0;

  /** @param endIds tokens that may come exactly where a text may end */
  constructor(automaton: Automaton, trie: TokenTrie, endIds: readonly number[]) {
    this.automaton = automaton;
    this.trie = trie;
    this.endIds = endIds;
  }

  /** Before the first byte. @throws AmbiguityError. */
  start(): Place {
    this.work = 0;
    return this.placeOf([this.frame(this.automaton.start, undefined)]);
  }

  /** Where a token leads; null where it may not come. @throws AmbiguityError. */
  after(place: Place, tokenId: number): Place | null {
    this.work = 0;
    let found: Place | null = place;
    for (const byte of this.trie.bytes[tokenId] ?? []) {
      if (found === null) return null;
      found = this.step(found, byte);
    }
    return found;
  }

  /** The tokens that may come at a place, [ceil(V / 32)]: bit v % 32 of word v / 32. @throws AmbiguityError. */
  allowed(place: Place): Uint32Array<ArrayBuffer> {
    const known = this.masks.get(place);
    if (known !== undefined) return known;
    const mask = this.computeAllowed(place);
    const [oldest] = this.masks.keys();
    if (this.masks.size >= MAX_MASKS && oldest !== undefined) this.masks.delete(oldest);
    this.masks.set(place, mask);
    return mask;
  }

  private computeAllowed(place: Place): Uint32Array<ArrayBuffer> {
    this.work = 0;
    const { byteOf, depthOf, endOf, tokenOf, sameAs, vocabSize } = this.trie;
    const mask = new Uint32Array(Math.ceil(vocabSize / 32));
    const allow = (id: number) => {
      mask[id >>> 5] = at(mask, id >>> 5) | (1 << (id & 31));
    };
    const path: Place[] = [place]; // the place before each byte
    for (let node = 0; node < byteOf.length; ) {
      const depth = at(depthOf, node);
      const next = this.step(at(path, depth), at(byteOf, node));
      if (next === null) {
        node = at(endOf, node);
        continue;
      }
      path[depth + 1] = next;
      for (let id = at(tokenOf, node); id >= 0; id = at(sameAs, id)) allow(id);
      node++;
    }
    for (const id of this.endIds) {
      if (place.isEnd) allow(id);
      else mask[id >>> 5] = at(mask, id >>> 5) & ~(1 << (id & 31));
    }
    return mask;
  }

  private step(place: Place, byte: number): Place | null {
    const known = place.next[byte];
    if (known !== undefined) return known;
    const reached: Frame[] = [];
    for (const { state, caller } of place.frames) {
      for (const { first, last, to } of at(this.automaton.states, state).bytes) {
        if (byte >= first && byte <= last) reached.push(this.frame(to, caller));
      }
    }
    this.work += place.frames.length;
    const next = reached.length === 0 ? null : this.placeOf(reached);
    place.next[byte] = next;
    return next;
  }

  /** The place of frames, and of those that they reach without a byte. */
  private placeOf(reached: readonly Frame[]): Place {
    const seen = new Set(reached);
    const reading: Frame[] = [];
    let isEnd = false;
    for (const frame of seen) {
      const { state, caller } = frame; // the set grows while it is walked
      if (state === this.automaton.end) {
        if (caller === undefined) isEnd = true;
        else seen.add(caller);
        continue;
      }
      const { bytes, free, calls } = at(this.automaton.states, state);
      if (bytes.length > 0) reading.push(frame);
      for (const to of free) seen.add(this.frame(to, caller));
      for (const { start, back } of calls) {
        // A call at the end of a rule has nothing to come back for but that rule's own caller.
        const isLast = back === this.automaton.end && caller !== undefined;
        seen.add(this.frame(start, isLast ? caller : this.frame(back, caller)));
      }
      if (seen.size > MAX_FRAMES) throw new AmbiguityError();
    }
    this.work += seen.size;
    if (this.work > MAX_WORK) throw new AmbiguityError();
    const ids = reading.map(({ id }) => id).sort((a, b) => a - b);
    const key = `${isEnd} ${ids.join(" ")}`;
    const known = this.places.get(key);
    if (known !== undefined) return known;
    if (this.places.size >= MAX_PLACES) this.forget();
    const place: Place = { frames: reading, isEnd, next: new Array(256) };
    this.places.set(key, place);
    return place;
  }

  private forget(): void {
    this.places.clear();
    this.frames.clear();
    this.masks.clear();
  }

  /** The one frame of a state within these calls. */
  private frame(state: number, caller: Frame | undefined): Frame {
    const callerId = caller?.id ?? -1;
    let ofCaller = this.frames.get(callerId);
    if (ofCaller === undefined) {
      ofCaller = new Map();
      this.frames.set(callerId, ofCaller);
    }
    let frame = ofCaller.get(state);
    if (frame === undefined) {
      frame = { id: this.numFrames++, state, caller };
      ofCaller.set(state, frame);
    }
    return frame;
  }
}
