// Which part of the questions one of several machines takes.
import { InputError } from "../../errors.ts";

/** Part `index` of `count`, from 0. */
export interface Shard {
  readonly index: number;
  readonly count: number;
}

/** Parses "i/n". @throws InputError unless 0 ≤ i < n. */
export function parseShard(text: string): Shard {
  const [, index, count] = /^(\d+)\/(\d+)$/.exec(text.trim()) ?? [];
  const shard = { index: Number(index), count: Number(count) };
  if (index !== undefined && count !== undefined && shard.index < shard.count) return shard;
  throw new InputError(
    `expected i/n, part i of n from 0, such as 0/4, got ${JSON.stringify(text)}; in a Kubernetes indexed job, $JOB_COMPLETION_INDEX/n.`,
  );
}

/**
 * The part that a Slurm array task takes; undefined outside of an array job.
 * Source: sbatch(1), SLURM_ARRAY_TASK_ID and its companions
 * @throws InputError for an array whose indices are not evenly spaced, where the part cannot be told.
 */
export function slurmShard(environment: Readonly<Record<string, string | undefined>>): Shard | undefined {
  const read = (name: string) => {
    const text = environment[`SLURM_ARRAY_TASK_${name}`];
    return text === undefined || text === "" ? undefined : Number(text);
  };
  const [id, count, min, max] = [read("ID"), read("COUNT"), read("MIN"), read("MAX")];
  if (id === undefined) return undefined;
  const step = read("STEP") ?? 1;
  if (count !== undefined && min !== undefined && max !== undefined) {
    const index = (id - min) / step;
    if (count === (max - min) / step + 1 && Number.isInteger(index) && index >= 0 && index < count)
      return { index, count };
  }
  throw new InputError(
    `The Slurm array's indices (task ${id} of ${count ?? "an unknown number"}, from ${min} to ${max} in steps of ${step}) are not evenly ` +
      "spaced: use an array such as 0-9, or give --shard i/n.",
  );
}

/**
 * The part that a pod of a Kubernetes indexed job takes; undefined outside of one. Kubernetes gives pods their index, but not the
 * number of pods: the job's manifest has to set JOB_COMPLETIONS to its `completions`.
 * Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/#completion-mode
 * @throws InputError without a number above the index.
 */
export function kubernetesShard(environment: Readonly<Record<string, string | undefined>>): Shard | undefined {
  const { JOB_COMPLETION_INDEX: index, JOB_COMPLETIONS: count } = environment;
  if (index === undefined || index === "") return undefined;
  const isWhole = /^\d+$/.test(index) && /^\d+$/.test(count ?? "");
  if (isWhole && Number(index) < Number(count)) return { index: Number(index), count: Number(count) };
  throw new InputError(
    `This is pod ${index} of a Kubernetes indexed job of ${count ?? "an unknown number"}: give --shard $(JOB_COMPLETION_INDEX)/n in the ` +
      "manifest, or set JOB_COMPLETIONS there to the job's completions.",
  );
}

/** The part that this process takes as a task of a cluster; undefined outside of one. @throws InputError. */
export function clusterShard(
  environment: Readonly<Record<string, string | undefined>>,
): (Shard & { readonly of: string }) | undefined {
  const slurm = slurmShard(environment);
  if (slurm !== undefined) return { ...slurm, of: "Slurm array" };
  const kubernetes = kubernetesShard(environment);
  return kubernetes && { ...kubernetes, of: "Kubernetes indexed job" };
}

/** The ids of one part: every `count`-th, so that the parts are alike. */
export function shardOf(ids: readonly number[], { index, count }: Shard): readonly number[] {
  return ids.filter((_, position) => position % count === index);
}
