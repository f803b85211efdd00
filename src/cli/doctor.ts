// adaptvis doctor: the adapter of this machine, its features and limits, and what is missing.
import type { Command } from "commander";
import { GpuError } from "../errors.ts";
import { formatBytes } from "../gpu/device.ts";
import { type AdapterReport, describeAdapter } from "../gpu/doctor.ts";
import { denoVersion, isDeno } from "../gpu/hosts/adapter.deno.ts";
import type { OpenedAdapter } from "../gpu/hosts/adapter-choice.node.ts";
import { findChromiumPackage } from "../gpu/hosts/swiftshader.node.ts";
import { driverEnvironment } from "../gpu/hosts/vulkan-drivers.node.ts";
import { examples, packageVersion } from "./package-files.ts";
import { defineCommand, type Session, styled } from "./session.ts";

/** Whether a software driver is present on this machine; `detail` is its location, or the reason why it is missing. */
interface DriverState {
  readonly present: boolean;
  readonly detail: string;
}

/** `adaptvis doctor`. */
export const doctorCommand = defineCommand("doctor", describeDoctor, doctor);

/** Describes `doctor` to commander. */
function describeDoctor(command: Command): Command {
  return command
    .description(
      "Print the GPU or software adapter, its features and limits, and what is missing. Exit code 1 without an adapter.",
    )
    .addHelpText(
      "after",
      examples(() => ["doctor", "doctor --adapter swiftshader --json"]),
    );
}

/** Runs `doctor`. @throws GpuError `no-adapter` after the report, when there is no adapter. */
async function doctor(session: Session): Promise<void> {
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

/** No adapter was found; carries the rest of the report for --json. */
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

/** Versions and platform of the process. */
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
  const gapText = report.gaps.map((gap) => `  ${gap.missing}: ${gap.consequence}; still works: ${gap.worksAnyway}`);
  return [
    `${heading("adapter")} ${opened.description}`,
    `${heading("software")} ${opened.isSoftware ? "yes, computes on the CPU" : "no"}`,
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
    ...Object.entries(software).map(([name, state]) => `  ${name}: ${state.present ? "" : "missing; "}${state.detail}`),
  ];
}

function heading(text: string): string {
  return styled("bold", text);
}
