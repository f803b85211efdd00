// The playground's engine outside a browser: this process's adapter, devices that can be watched and lost, and files that
// count what is read of them.
import { openAsBlob, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../../src/app/engine/failure.ts";
import type { EngineHost } from "../../src/app/engine/loaded-model.ts";
import type { CheckpointSource, LocalFile } from "../../src/app/protocol.ts";
import { openNodeAdapter } from "../../src/gpu/hosts/adapter.node.ts";
import { decodeImage } from "../../src/preprocess/decode-image.node.ts";
import { repositoryRoot } from "../setup/bundle.ts";
import { adapterOfEnvironment } from "../setup/device.ts";

/** A host whose devices can be lost, and which hears of every submit. */
export class TestHost implements EngineHost {
  readonly decodeImage = decodeImage;
  /** A clock that stands, so that no test depends on this machine's speed. */
  readonly now = () => 0;
  /** Devices in the order in which they were made. */
  readonly devices: GPUDevice[] = [];
  /** Labels of the command encoders that were made, one a submit; the engine names them by the program. */
  labels: string[] = [];
  /** Called at every command encoder, before it is made. */
  onEncoder: ((label: string) => void) | undefined;

  /** How many of the next requests find no adapter. */
  numRefusals = 0;

  async requestAdapter(): Promise<GPUAdapter> {
    if (this.numRefusals > 0) {
      this.numRefusals--;
      throw new EngineError({ kind: "no-adapter", message: "no adapter" });
    }
    const { adapter } = await openNodeAdapter(adapterOfEnvironment());
    const requestDevice = adapter.requestDevice.bind(adapter);
    adapter.requestDevice = async (descriptor) => {
      const device = await requestDevice(descriptor);
      const createCommandEncoder = device.createCommandEncoder.bind(device);
      device.createCommandEncoder = (options) => {
        const label = options?.label ?? "";
        this.onEncoder?.(label);
        if (label !== "") this.labels.push(label);
        return createCommandEncoder(options);
      };
      this.devices.push(device);
      return device;
    };
    return adapter;
  }

  /** The device that was made last. */
  get device(): GPUDevice {
    const device = this.devices.at(-1);
    if (device === undefined) throw new Error("no device was made");
    return device;
  }
}

/** A file that counts the bytes that are read of it, and must not be read whole. */
class CountingBlob extends Blob {
  private readonly inner: Blob;
  readonly reads: number[] = [];

  constructor(inner: Blob) {
    super();
    this.inner = inner;
  }

  override get size(): number {
    return this.inner.size;
  }

  override slice(start?: number, end?: number): Blob {
    const part = this.inner.slice(start, end);
    this.reads.push(part.size);
    return part;
  }

  override async arrayBuffer(): Promise<ArrayBuffer> {
    throw new Error("the file was read whole");
  }
}

/** A file with its counts. */
export interface CountedFile extends LocalFile {
  readonly file: CountingBlob;
}

/** The files of a folder (not of folders in it), as the page would hand them over. */
export async function countedFiles(folder: string): Promise<CountedFile[]> {
  const names = readdirSync(folder).filter((name) => statSync(join(folder, name)).isFile());
  return Promise.all(
    names.map(async (path) => ({ path, file: new CountingBlob(await openAsBlob(join(folder, path))) })),
  );
}

/** tiny-spatial as local files. */
export async function tinySpatial(): Promise<CheckpointSource> {
  const files = await countedFiles(join(repositoryRoot, "weights", "tiny-spatial"));
  return { kind: "files", name: "tiny-spatial", files };
}
