// What people read who have neither a GPU nor SwiftShader: which package gives their system an adapter.

import { afterEach, expect, test } from "vitest";
import { unpackSwiftShader } from "../../src/gpu/hosts/swiftshader.node.ts";

const { platform, arch } = process;

afterEach(() => setHost(platform, arch));

/** Makes this process look as on another machine. */
function setHost(otherPlatform: string, otherArch: string): void {
  Object.defineProperties(process, { platform: { value: otherPlatform }, arch: { value: otherArch } });
}

test.each([
  [
    "linux",
    "arm64",
    /^SwiftShader comes for linux x64 only, this is linux arm64; install .*: mesa-vulkan-drivers\)\.$/,
  ],
  ["darwin", "arm64", /this is darwin arm64; install a GPU's driver\.$/],
  ["win32", "x64", /this is win32 x64; install a GPU's driver\.$/],
])("on %s %s", async (otherPlatform, otherArch, message) => {
  setHost(otherPlatform, otherArch);
  await expect(unpackSwiftShader()).rejects.toMatchObject({
    name: "GpuError",
    reason: "no-adapter",
    message: expect.stringMatching(message),
  });
});
