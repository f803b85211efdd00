// adaptvis doctor: what this machine computes on, and what it lacks.
import type { Command } from "commander";
import { GpuError } from "../errors.ts";
import { formatBytes } from "../gpu/device.ts";
import { type AdapterReport, describeAdapter } from "../gpu/doctor.ts";
import { denoVersion, isDeno } from "../gpu/hosts/adapter.deno.ts";
import type { OpenedAdapter } from "../gpu/hosts/adapter-choice.node.ts";
import { findChromiumPackage } from "../gpu/hosts/swiftshader.node.ts";
import { driverEnvironment } from "../gpu/hosts/vulkan-drivers.node.ts";
import { examples, packageVersion } from "./package-files.ts";
import { type Session, styled } from "./session.ts";

/** Whether a software driver is on this machine; `detail` is where, or why not. */
interface DriverState {
  readonly present: boolean;
  readonly detail: string;
}

/** Describes `doctor` to commander. */
export function describeDoctor(command: Command): Command {
  return command
    .description("Tell which GPU or software adapter is used, and what it lacks. Exit code 1 when there is none.")
    .addHelpText(
      "after",
      examples(() => ["doctor", "doctor --adapter swiftshader --json"]),
    );
}

/** Runs `doctor`. @throws GpuError `no-adapter` after the report, when there is no adapter. */
export async function doctor(session: Session): Promise<void> {
  const software = { swiftshader: await swiftShaderState(), lavapipe: await lavapipeState() };
  const host = hostFacts();
  let opened: OpenedAdapter;
  try {
    opened = await session.openAdapter();
  } catch (error) {
    if (!(error instanceof GpuError)) throw error;
    session.print([...hostLines(host), ...softwareLines(software), ""].join("\n"));
    throw new DoctorError(error, { host, software });
  }
  const { kind, description } = opened;
  const report = describeAdapter(opened.adapter);
  session.result({ adapter: { kind, name: description, ...report }, software, host });
  session.print([...hostLines(host), ...adapterLines(opened, report), ...softwareLines(software), ""].join("\n"));
}

/** There is no adapter; carries the rest of the report for --json. */
export class DoctorError extends GpuError {
  readonly report: object;

  constructor(cause: GpuError, report: object) {
    super(cause.reason, cause.message, { cause });
    this.report = report;
  }
}

async function swiftShaderState(): Promise<DriverState> {
  return stateOf(async () => {
    const { version } = await findChromiumPackage();
    return `npm package @sparticuz/chromium ${version}`;
  });
}

async function lavapipeState(): Promise<DriverState> {
  return stateOf(async () => (await driverEnvironment("lavapipe")).VK_ICD_FILENAMES);
}

async function stateOf(find: () => Promise<string>): Promise<DriverState> {
  try {
    return { present: true, detail: await find() };
  } catch (error) {
    if (error instanceof GpuError) return { present: false, detail: error.message };
    throw error;
  }
}

/** What the command runs in. */
interface HostFacts {
  readonly adaptvis: string;
  readonly node?: string;
  readonly deno?: string;
  readonly platform: string;
  readonly arch: string;
}

function hostFacts(): HostFacts {
  const runtime = isDeno() ? { deno: denoVersion() } : { node: process.version };
  return { adaptvis: packageVersion(), ...runtime, platform: process.platform, arch: process.arch };
}

function hostLines({ adaptvis, node, deno, platform, arch }: HostFacts): readonly string[] {
  const runtime = deno === undefined ? `Node ${node}` : `Deno ${deno}`;
  return [`${heading("host")} adaptvis ${adaptvis}, ${runtime}, ${platform} ${arch}`];
}

function adapterLines(opened: OpenedAdapter, report: AdapterReport): readonly string[] {
  const { features, limits } = report;
  const yesNo = (name: string, has: boolean) => `${name} ${has ? styled("green", "yes") : styled("yellow", "no")}`;
  const sizes =
    features.subgroupMinSize === null ? "" : ` (${features.subgroupMinSize} to ${features.subgroupMaxSize})`;
  const featureText = [
    yesNo("shader-f16", features.shaderF16),
    yesNo("subgroups", features.subgroups) + sizes,
    yesNo("timestamp-query", features.timestampQuery),
  ].join(", ");
  const limitText = Object.entries(limits).map(([name, value]) => {
    return `  ${name} ${/Size$/.test(name) ? formatBytes(value) : value}`;
  });
  const gapText = report.gaps.map(
    (gap) => `  no ${gap.missing}: ${gap.consequence}; works all the same: ${gap.worksAnyway}`,
  );
  return [
    `${heading("adapter")} ${opened.description}`,
    `${heading("software")} ${opened.isSoftware ? "yes, it computes on the CPU" : "no"}`,
    `${heading("features")} ${featureText}`,
    heading("limits"),
    ...limitText,
    `${heading("missing")}${gapText.length === 0 ? " nothing" : ""}`,
    ...gapText,
  ];
}

function softwareLines(software: Readonly<Record<string, DriverState>>): readonly string[] {
  return [
    heading("software adapters"),
    ...Object.entries(software).map(([name, state]) => `  ${name}: ${state.present ? "" : "no; "}${state.detail}`),
  ];
}

function heading(text: string): string {
  return styled("bold", text);
}
