// How interventions change attention scores. Edits multiply, add to or knock out the scores of chosen query rows and keys,
// with one strength per layer and head (ScalingVis and AdaptVis multiply: arXiv 2503.01773). Appended to every attention
// kernel, together with shared/step (binding 8) and shared/edits (binding 9); the kernel's Params have `layer` and `numHeads`.
//
// Words of `edits`, which src/models/layers/score-edits.ts packs:
//   32 batch rows × (word of the first edit, number of edits)
//   edits × (operation, rowStart, rowEnd, maskStart, maskWords, strengthStart, rowStrengthStart, ruleStart); query
//     slots [rowStart, rowEnd)
//   masks: bit b of word maskStart + w selects key slot 32 · w + b; keys past the mask are not selected
//   strengths: f32 [layers, H] from word strengthStart on or, where rowStrengthStart is not 0, every second f32 of
//     [rows of the call, H, 2] from there on: row-strengths.wgsl computes these before the layer's attention
override EDIT: bool; // false: `edits` is not read
const EDIT_WORDS: u32 = 8u;
const MULTIPLY: u32 = 0u;      // score · strength
const ADD: u32 = 1u;           // score + strength
const ADD_MAGNITUDE: u32 = 2u; // score + strength · |score|
const KNOCK_OUT: u32 = 3u;     // KNOCKED_OUT if strength ≠ 0; later edits leave it so
const KNOCKED_OUT = -3.0e38;

// One edit, as far as it concerns one query row and head; without mask words it changes nothing.
struct ScoreEdit {
  operation: u32,
  strength: f32,
  maskStart: u32,
  maskWords: u32,
}

// All edits of one query row and head. Most often there is one at most: it is read once, before the loop over the keys.
struct RowEdits {
  row: u32,
  head: u32,
  numActive: u32,
  last: ScoreEdit, // of the active ones
}

fn loadEdit(start: u32, row: u32, head: u32) -> ScoreEdit {
  let slot = rowSlot(row);
  let operation = edits[start];
  let ofLayer = edits[start + 5u] + params.layer * params.numHeads + head;
  let ofRow = edits[start + 6u] + 2u * (row * params.numHeads + head);
  let strength = bitcast<f32>(edits[select(ofLayer, ofRow, edits[start + 6u] > 0u)]);
  let changes = strength != select(0.0, 1.0, operation == MULTIPLY);
  let isActive = changes && slot >= edits[start + 1u] && slot < edits[start + 2u];
  return ScoreEdit(operation, strength, edits[start + 3u], select(0u, edits[start + 4u], isActive));
}

fn rowEdits(row: u32, head: u32) -> RowEdits {
  var result = RowEdits(row, head, 0u, ScoreEdit(0u, 0.0, 0u, 0u));
  if (EDIT) {
    let start = edits[2u * batchRow(row)];
    let end = start + edits[2u * batchRow(row) + 1u] * EDIT_WORDS;
    for (var at = start; at < end; at += EDIT_WORDS) {
      let edit = loadEdit(at, row, head);
      if (edit.maskWords > 0u) {
        result.numActive += 1u;
        result.last = edit;
      }
    }
  }
  return result;
}

fn applyEdit(scores: vec4<f32>, keys: vec4<u32>, edit: ScoreEdit) -> vec4<f32> {
  var bits = 0u;
  if (keys.x / 32u < edit.maskWords) {
    bits = edits[edit.maskStart + keys.x / 32u];
  }
  let isSelected = ((vec4<u32>(bits) >> (keys % 32u)) & vec4<u32>(1u)) == vec4<u32>(1u);
  var edited = scores * edit.strength;
  if (edit.operation == ADD) {
    edited = scores + edit.strength;
  } else if (edit.operation == ADD_MAGNITUDE) {
    edited = scores + edit.strength * abs(scores);
  } else if (edit.operation == KNOCK_OUT) {
    edited = vec4<f32>(KNOCKED_OUT);
  }
  return select(scores, edited, isSelected & (scores > vec4<f32>(KNOCKED_OUT)));
}

// The row's scores of four keys within one mask word: keys / 32 is the same for all.
fn editScores(scores: vec4<f32>, keys: vec4<u32>, row: RowEdits) -> vec4<f32> {
  var result = scores;
  if (EDIT && row.numActive == 1u) {
    result = applyEdit(result, keys, row.last);
  }
  if (EDIT && row.numActive > 1u) {
    let start = edits[2u * batchRow(row.row)];
    let end = start + edits[2u * batchRow(row.row) + 1u] * EDIT_WORDS;
    for (var at = start; at < end; at += EDIT_WORDS) {
      result = applyEdit(result, keys, loadEdit(at, row.row, row.head));
    }
  }
  return result;
}

fn editScore(score: f32, key: u32, row: RowEdits) -> f32 {
  return editScores(vec4<f32>(score), vec4<u32>(key), row).x;
}
