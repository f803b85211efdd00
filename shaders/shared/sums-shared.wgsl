// Adds up the sums of a workgroup's threads in shared memory, for GPUs without subgroups: 16 threads per sum, then one. Appended
// with shared/matvec-sums.
override PARTIAL_SIZE: u32 = BATCH * COLUMNS4 * THREADS;

// [BATCH · COLUMNS4][THREADS]
var<workgroup> partial: array<vec4<f32>, PARTIAL_SIZE>;

struct Thread {
  lane: u32,
}

fn addUp(thread: Thread, index: u32, sum: vec4<f32>) {
  partial[index * THREADS + thread.lane] = sum;
}

// After the last addUp; every thread of the workgroup calls it.
fn finishSums(thread: Thread) {
  workgroupBarrier();
  for (var at = thread.lane; at < BATCH * COLUMNS4 * 16u; at += THREADS) {
    let start = at / 16u * THREADS + at % 16u;
    var sum = partial[start];
    for (var i = 16u; i < THREADS; i += 16u) {
      sum += partial[start + i];
    }
    partial[start] = sum; // nobody else reads these
  }
  workgroupBarrier();
}

// The sum at a place; valid for every thread after finishSums.
fn total(thread: Thread, index: u32) -> vec4<f32> {
  var sum = partial[index * THREADS];
  for (var i = 1u; i < 16u; i++) {
    sum += partial[index * THREADS + i];
  }
  return sum;
}
