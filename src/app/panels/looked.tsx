// Where the model looked: attention of the last prompt position over the picture, unmodified and under a factor, and a grid of
// all layers and heads.

import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { at } from "../../errors.ts";
import { besideEachOther, enlarge, heatColor, overlayAttention } from "../../inspect/heat-map.ts";
import type { RgbImage } from "../../preprocess/image.ts";
import { brightestPatch, type MapChoice, mapOf, patchAt, placeInWords, putPicture } from "../draw/attention-view.ts";
import { pngOf, save } from "../draw/download.ts";
import { decimal, percent } from "../draw/words.ts";
import type { AttentionView } from "../protocol.ts";
import { asked, factorAnswer, hadPicture, mapAnswer, mapHead, mapLayer, notify } from "../state.ts";
import { type Choice, Panel, Paper, Segmented, Select, Slider } from "./controls.tsx";
import { deferred } from "./deferred.tsx";

const EnlargedMap = deferred(async () => (await import("./enlarged-map.tsx")).EnlargedMap);

/** Minimum side of a drawn map, pixels. */
const SIDE = 448;

/** More than the rounding of f32 sums: attention on the picture's tokens without a place in it. */
const UNPLACED = 1e-5;

/** The heat map panel; nothing for an answer without a picture. */
export function Looked() {
  const answers = asked.value?.answers;
  const plain = answers?.greedy.attention;
  const picture = answers?.picture;
  if (answers === undefined || !hadPicture.value) return null;
  if (plain === undefined || picture === undefined) return null;
  const factorResult = factorAnswer.value;
  const other = mapAnswer.value === "factor" && factorResult !== undefined ? factorResult : answers.adaptvis;
  const { numLayers, numHeads } = plain;
  const choice = { layer: mapLayer.value ?? Math.floor(numLayers / 2), head: mapHead.value };
  return (
    <Panel
      id="looked"
      title="Where it looked"
      lead="How much attention the position that produces the first word pays to each patch of the picture, as the model received it."
    >
      <div class="map-controls">
        <Slider
          label="Layer"
          value={choice.layer}
          min={0}
          max={numLayers - 1}
          step={1}
          valueText={`${choice.layer} of 0–${numLayers - 1}`}
          onInput={(layer) => {
            mapLayer.value = layer;
          }}
        />
        <Select
          label="Head"
          choices={[
            { value: "mean", label: `mean of all ${numHeads}` },
            ...Array.from({ length: numHeads }, (_, head) => ({ value: String(head), label: String(head) })),
          ]}
          value={choice.head === undefined ? "mean" : String(Math.min(choice.head, numHeads - 1))}
          onChange={(head) => {
            mapHead.value = head === "mean" ? undefined : Number(head);
          }}
        />
      </div>
      <OtherChoice />
      <div class="pair">
        <MapFigure name="Unmodified" factor={1} picture={picture} view={plain} choice={choice} />
        {other.attention !== undefined && (
          <MapFigure
            name={other.kind === "factor" ? "Your factor" : "AdaptVis"}
            factor={other.factor}
            picture={picture}
            view={other.attention}
            choice={choice}
          />
        )}
      </div>
      <div>
        <button type="button" onClick={() => void saveMaps(picture, [plain, other.attention], choice)}>
          Download heat maps (PNG)
        </button>
      </div>
      <Legend numPatches={plain.gridWidth * plain.gridHeight} />
    </Panel>
  );
}

/** Downloads the picture and the maps side by side. */
async function saveMaps(
  picture: RgbImage,
  views: readonly (AttentionView | undefined)[],
  choice: MapChoice,
): Promise<void> {
  const large = enlarge(picture, SIDE);
  const maps = views.flatMap((view) => (view === undefined ? [] : [overlayAttention(large, mapOf(view, choice))]));
  try {
    save(await pngOf(besideEachOther([large, ...maps])), "adaptvis-heat-maps.png");
  } catch (error) {
    notify("The heat maps could not be saved", { kind: "internal", message: String(error) });
  }
}

function OtherChoice() {
  if (factorAnswer.value === undefined) return null;
  const choices: readonly Choice<"adaptvis" | "factor">[] = [
    { value: "adaptvis", label: "AdaptVis" },
    { value: "factor", label: "Your factor" },
  ];
  return (
    <Segmented
      legend="Beside the unmodified map"
      isLegendShown
      choices={choices}
      value={mapAnswer.value}
      onChange={(value) => {
        mapAnswer.value = value;
      }}
    />
  );
}

/** The picture under its map, and the map's figures. */
function MapFigure(props: {
  readonly name: string;
  readonly factor: number;
  readonly picture: RgbImage;
  readonly view: AttentionView;
  readonly choice: MapChoice;
}) {
  const { name, factor, picture, view, choice } = props;
  const { layer, head } = choice;
  const map = useMemo(() => mapOf(view, { layer, head }), [view, layer, head]);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [pointed, setPointed] = useState<number | undefined>(undefined);
  const large = useMemo(() => enlarge(picture, SIDE), [picture]);
  useLayoutEffect(() => {
    if (canvas.current !== null) putPicture(canvas.current, overlayAttention(large, map));
  }, [large, map]);
  const brightest = brightestPatch(map);
  const place = placeInWords(map, brightest);
  const point = (event: PointerEvent & { readonly currentTarget: HTMLCanvasElement }) => {
    const box = event.currentTarget.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    setPointed(patchAt(map, x, y));
  };
  const shown = pointed ?? brightest.row * map.width + brightest.column;
  const [isEnlarged, setEnlarged] = useState(false);
  const label = `Heat map, ${name}, factor ${decimal(factor)}: ${percent(map.share)} of all attention is on the picture, most of it ${place}`;
  return (
    <figure class="map">
      <figcaption>
        <h3>{name}</h3>
        <span class="hint number">factor {decimal(factor)}</span>
        <button type="button" class="small" onClick={() => setEnlarged(true)}>
          <span>
            Enlarge <span class="visually-hidden">the map, {name}</span>
          </span>
        </button>
      </figcaption>
      <canvas
        ref={canvas}
        role="img"
        aria-label={label}
        onPointerMove={point}
        onPointerLeave={() => setPointed(undefined)}
        onClick={() => setEnlarged(true)}
      />
      {isEnlarged && (
        <EnlargedMap
          title={`Where it looked: ${name}, factor ${decimal(factor)}`}
          label={label}
          picture={picture}
          map={map}
          onClose={() => setEnlarged(false)}
        />
      )}
      <dl class="figures number">
        <div>
          <dt>
            Attention on the picture <Paper name="image share" />
          </dt>
          <dd>{percent(map.share)}</dd>
        </div>
        {map.unplacedShare > UNPLACED && (
          <div>
            <dt>Of it on newlines</dt>
            <dd>{percent(map.unplacedShare)}</dd>
          </div>
        )}
        {map.paddingShare > UNPLACED && (
          <div>
            <dt>Of it on padding</dt>
            <dd>{percent(map.paddingShare)}</dd>
          </div>
        )}
        <div>
          <dt>
            How spread out <Paper name="entropy" />
          </dt>
          <dd>{map.entropy.toFixed(2)}&nbsp;bits</dd>
        </div>
        <div>
          <dt>{pointed === undefined ? "Brightest" : "This patch"}</dt>
          <dd>{percent(at(map.values, shown))}</dd>
        </div>
      </dl>
      <HeadGrid name={name} view={view} layer={map.layer} head={map.head} />
    </figure>
  );
}

function Legend({ numPatches }: { readonly numPatches: number }) {
  const stops = Array.from(
    { length: 17 },
    (_, index) =>
      `rgb(${heatColor(index / 16)
        .map(Math.round)
        .join(" ")})`,
  );
  return (
    <div class="legend">
      <span class="hint">no attention</span>
      <span class="legend-bar" style={{ background: `linear-gradient(to right, ${stops.join(", ")})` }} />
      <span class="hint">most</span>
      <p class="hint legend-words">
        Each map’s brightest colour is its own brightest patch. Attention on the picture: how much of all attention,
        rather than on words; in the small grid from black, none, to pale, all. How spread out: low when it looks at few
        patches, {decimal(Math.log2(numPatches), 2)} bits when it looks at all alike. Press a map to enlarge it
        <span class="for-keys">, or point at a patch for its part of all attention</span>.
      </p>
    </div>
  );
}

/** A grid with a cell per layer (down) and head (across); the sliders offer the same choice for keyboards. */
export function HeadGrid(props: {
  readonly name: string;
  readonly view: AttentionView;
  readonly layer: number;
  readonly head: number | undefined;
}) {
  const { name, view, layer, head } = props;
  const { numLayers, numHeads, shares } = view;
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    if (canvas.current !== null) paint(canvas.current, view);
  }, [view]);
  const choose = (event: MouseEvent & { readonly currentTarget: HTMLElement }) => {
    const box = event.currentTarget.getBoundingClientRect();
    const cell = (share: number, count: number) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
    mapLayer.value = cell((event.clientY - box.top) / box.height, numLayers);
    mapHead.value = cell((event.clientX - box.left) / box.width, numHeads);
  };
  const most = shares.reduce((best, share, index) => (share > at(shares, best) ? index : best), 0);
  const place = `layer ${Math.floor(most / numHeads)}, head ${most % numHeads}`;
  const part = (count: number) => `${(100 / count).toFixed(4)}%`;
  return (
    <figure class="head-grid">
      <figcaption class="hint">Attention on the picture, layers down, heads across</figcaption>
      <div class="head-cells" style={{ aspectRatio: `${numHeads * 3} / ${numLayers}` }}>
        <canvas
          ref={canvas}
          onPointerUp={choose}
          role="img"
          aria-label={`Attention on the picture by layer and head, ${name}: most in ${place}, ${percent(at(shares, most))}`}
        />
        <span
          class="head-mark"
          style={{
            top: `${((100 * layer) / numLayers).toFixed(4)}%`,
            height: part(numLayers),
            left: head === undefined ? "0" : `${((100 * head) / numHeads).toFixed(4)}%`,
            width: head === undefined ? "100%" : part(numHeads),
          }}
        />
      </div>
    </figure>
  );
}

/** Colour scale from no attention on the picture to all of it. */
function paint(canvas: HTMLCanvasElement, { numLayers, numHeads, shares }: AttentionView): void {
  canvas.width = numHeads;
  canvas.height = numLayers;
  const pixels = new ImageData(numHeads, numLayers);
  for (const [cell, share] of shares.entries()) pixels.data.set([...heatColor(share).map(Math.round), 255], cell * 4);
  canvas.getContext("2d")?.putImageData(pixels, 0, 0);
}
