// Which keys a row of causal attention sees: those up to its own slot or, in a layer with a sliding window, the last `window` of
// them, its own included: slot − window < j <= slot. Appended to every attention kernel, together with shared/step (binding 8);
// the kernel's Params have `window`.
// Source: arXiv 2310.06825 §2; transformers masking_utils.py `sliding_window_overlay`
override WINDOWED: bool; // false: params.window is not read, and rows see keys from the first on

fn firstKey(row: u32) -> u32 {
  if (!WINDOWED) {
    return 0u;
  }
  let end = rowSlot(row) + 1u;
  return end - min(end, params.window);
}

// Whether keys [first, end) include this one; `first` is 0 without a window.
fn isSeen(key: u32, first: u32, end: u32) -> bool {
  return key < end && (!WINDOWED || key >= first);
}

fn areSeen(keys: vec4<u32>, first: u32, end: u32) -> vec4<bool> {
  let isBefore = keys < vec4<u32>(end);
  if (!WINDOWED) {
    return isBefore;
  }
  return isBefore & (keys >= vec4<u32>(first));
}
