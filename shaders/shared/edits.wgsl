// The words of score edits, which shared/score-edit describes. Appended to every attention kernel.
@group(0) @binding(9) var<storage, read> edits: array<u32>;
