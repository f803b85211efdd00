// Adds up the sums of a workgroup's threads: within subgroups of any size, then the subgroups' sums in shared memory. A subgroup is
// assumed to be a run of neighbouring threads, as in all known drivers for workgroups of one dimension. Appended with
// shared/matvec-sums.
enable subgroups;

override MAX_SUBGROUPS: u32 = THREADS / 4u; // of a workgroup: no subgroup has fewer than 4 threads
override PARTIAL_SIZE: u32 = BATCH * COLUMNS4 * MAX_SUBGROUPS;

// [BATCH · COLUMNS4][MAX_SUBGROUPS]
var<workgroup> partial: array<vec4<f32>, PARTIAL_SIZE>;

struct Thread {
  lane: u32,
  subgroupSize: u32,
}

fn addUp(thread: Thread, index: u32, sum: vec4<f32>) {
  let whole = subgroupAdd(sum);
  if (thread.lane % thread.subgroupSize == 0u) {
    partial[index * MAX_SUBGROUPS + thread.lane / thread.subgroupSize] = whole;
  }
}

// After the last addUp; every thread of the workgroup calls it.
fn finishSums(thread: Thread) {
  workgroupBarrier();
}

// The sum at a place; valid for every thread after finishSums.
fn total(thread: Thread, index: u32) -> vec4<f32> {
  var sum = partial[index * MAX_SUBGROUPS];
  for (var i = 1u; i < (THREADS + thread.subgroupSize - 1u) / thread.subgroupSize; i++) {
    sum += partial[index * MAX_SUBGROUPS + i];
  }
  return sum;
}
