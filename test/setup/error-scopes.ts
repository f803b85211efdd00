// The error scopes that every GPU call in a test runs in.

/** Runs `work` and fails when the GPU reported a validation, out-of-memory or internal error during it. */
export async function withErrorScopes<T>(device: GPUDevice, work: () => T | Promise<T>): Promise<T> {
  const filters: readonly GPUErrorFilter[] = ["validation", "out-of-memory", "internal"];
  for (const filter of filters) device.pushErrorScope(filter);
  let result: T | undefined;
  let thrown: { readonly error: unknown } | undefined;
  try {
    result = await work();
  } catch (error) {
    thrown = { error };
  }
  const errors: string[] = [];
  for (const filter of filters.toReversed()) {
    const error = await device.popErrorScope();
    if (error !== null) errors.push(`${filter}: ${error.message}`);
  }
  // A GPU error is usually the cause of what was thrown, so it is told first.
  if (errors.length > 0) throw new Error(errors.join("\n"), thrown === undefined ? undefined : { cause: thrown.error });
  if (thrown !== undefined) throw thrown.error;
  return result as T; // set, because nothing was thrown
}
