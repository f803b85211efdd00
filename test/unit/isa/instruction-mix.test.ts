// Kinds of instructions of GCN and RDNA, and what they move and compute.
import { expect, test } from "vitest";
import { kindOf, mixOf, type OperationKind, sumOfMixes } from "../../../src/isa/instruction-mix.ts";

const KINDS: Readonly<Record<OperationKind, readonly string[]>> = {
  "multiply-add": [
    "v_fma_f32",
    "v_fmac_f32_e32",
    "v_fmaak_f32",
    "v_fmamk_f32",
    "v_mac_f32_e32",
    "v_madak_f32",
    "v_mad_f32",
    "v_pk_fma_f16",
    "v_fma_mix_f32",
    "v_dual_fmac_f32",
    "v_dot2_f32_f16",
    "v_dot4_i32_iu8",
    "v_wmma_f32_16x16x16_f16",
  ],
  "other float": [
    "v_add_f32_e32",
    "v_mul_f32_e32",
    "v_mul_legacy_f32_e32",
    "v_add_f32_dpp",
    "v_max_f32_e32",
    "v_med3_f32",
  ],
  transcendental: ["v_exp_f32_e32", "v_rcp_f32_e32", "v_rsq_f32_e32", "v_sqrt_f32_e32"],
  conversion: ["v_cvt_f32_f16_e32", "v_cvt_f32_u32_e32", "v_cvt_f32_f16_sdwa"],
  clamp: ["v_min_u32_e32", "v_max_i32_e32", "v_med3_u32", "v_min3_u32"],
  integer: [
    "v_add_nc_u32_e32",
    "v_lshl_add_u32",
    "v_mad_u32_u24",
    "v_mul_lo_u32",
    "v_and_b32_e32",
    "v_bfe_u32",
    "v_mbcnt_lo_u32_b32",
  ],
  compare: ["v_cmp_gt_u32_e32", "v_cmpx_ge_u32_e64", "v_cndmask_b32_e32"],
  move: [
    "v_mov_b32_e32",
    "v_readlane_b32",
    "v_readfirstlane_b32",
    "v_permlanex16_b32",
    "v_swap_b32",
    "ds_bpermute_b32",
  ],
  "workgroup memory": ["ds_load_b128", "ds_read2st64_b32", "ds_write_b32", "ds_store_b128"],
  memory: ["buffer_load_b128", "global_store_b32", "s_load_b128", "s_buffer_load_dwordx4"],
  scalar: ["s_add_u32", "s_min_u32", "s_and_saveexec_b64", "s_cmp_lt_u32", "s_mul_f32"],
  wait: [
    "s_waitcnt",
    "s_waitcnt_depctr",
    "s_wait_loadcnt",
    "s_delay_alu",
    "s_nop",
    "s_clause",
    "s_set_inst_prefetch_distance",
  ],
  barrier: ["s_barrier", "buffer_gl0_inv"],
  branch: ["s_branch", "s_cbranch_execz", "s_cbranch_scc1", "s_endpgm", "s_sendmsg"],
};

test.each(Object.entries(KINDS).flatMap(([kind, names]) => names.map((name) => [name, kind])))(
  "%s: %s",
  (name, kind) => {
    expect(kindOf(name)).toBe(kind);
  },
);

test("a mixed multiply-add with one and minus zero only widens an f16", () => {
  expect(kindOf("v_fma_mix_f32", "v36, v11, 1.0, neg(0) op_sel:[1,0,0] op_sel_hi:[1,0,0]")).toBe("conversion");
  expect(kindOf("v_fma_mix_f32", "v[36], hi(v[11]), 1.0, neg(0)")).toBe("conversion");
  expect(kindOf("v_fma_mix_f32", "v32, v28, v12, neg(0) op_sel_hi:[0,1,0]")).toBe("multiply-add");
});

const block = (...codes: readonly string[]) => ({
  label: "BB0",
  instructions: codes.map((code) => {
    const [name = "", ...operands] = code.split(" ");
    return { operations: [name], operands: operands.join(" ") };
  }),
});

test.each([
  ["buffer_load_b128", "loads", 16],
  ["buffer_load_dwordx4", "loads", 16],
  ["buffer_load_dwordx2", "loads", 8],
  ["buffer_load_dword", "loads", 4],
  ["buffer_load_ubyte", "loads", 1],
  ["buffer_load_ushort", "loads", 2],
  ["buffer_load_d16_b16", "loads", 2],
  ["global_load_b64", "loads", 8],
  ["buffer_store_b32", "stores", 4],
  ["ds_load_b128", "ldsReads", 16],
  ["ds_read_b32", "ldsReads", 4],
  ["ds_read2_b32", "ldsReads", 8],
  ["ds_read2st64_b32", "ldsReads", 8],
  ["ds_load_2addr_stride64_b32", "ldsReads", 8],
  ["ds_write_b64", "ldsWrites", 8],
] as const)("%s moves per lane: %s %d bytes", (name, access, bytes) => {
  const mix = mixOf([block(name)]);
  expect(mix[access]).toEqual({ count: 1, bytes, numWide: bytes === 16 ? 1 : 0 });
  expect(mix.vector).toBe(0);
});

test("scalar loads are memory instructions that move nothing per lane", () => {
  expect(mixOf([block("s_load_b128", "s_buffer_load_b32")])).toMatchObject({
    counts: { memory: 2 },
    loads: { count: 0, bytes: 0 },
  });
});

test("multiply-adds count terms", () => {
  const terms = (name: string) => mixOf([block(name)]).multiplyAdds;
  expect(["v_fmac_f32_e32", "v_pk_fma_f16", "v_dot2_f32_f16", "v_dot4_i32_iu8"].map(terms)).toEqual([1, 2, 2, 4]);
  expect(terms("v_wmma_f32_16x16x16_f16")).toBe(64); // 16³ products of a wave of 64 lanes
});

test("a sum of mixes counts each as often as it says", () => {
  const inner = mixOf([block("v_fmac_f32_e32 v0, v1, v2", "ds_load_b128 v0, v1", "s_barrier")]);
  const outer = mixOf([block("v_add_f32_e32 v0, v1, v2", "buffer_load_b32 v0, v1")]);
  const sum = sumOfMixes([
    { mix: outer, times: 1 },
    { mix: inner, times: 8 },
  ]);
  expect(sum).toMatchObject({
    vector: 9,
    multiplyAdds: 8,
    counts: { "multiply-add": 8, "other float": 1, barrier: 8, "workgroup memory": 8, memory: 1 },
    loads: { count: 1, bytes: 4, numWide: 0 },
    ldsReads: { count: 8, bytes: 128, numWide: 8 },
  });
});
