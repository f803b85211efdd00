// An npm registry of the packages that are installed here, so that what resolves `npm:` specifiers needs no network.

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile, realpath } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { createGzip } from "node:zlib";
import { type Headers, pack } from "tar-fs";
import { repositoryRoot } from "../setup/bundle.ts";

/** What is read of an installed package.json. */
interface InstalledManifest {
  readonly version: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** A running registry. */
export interface Registry {
  /** For the variable NPM_CONFIG_REGISTRY. */
  readonly url: string;
  readonly close: () => void;
}

/**
 * Starts a registry that has the packages `names` and those that they need, each in its installed version alone: of optional
 * ones, such as binaries for other platforms, what is installed.
 */
export async function startRegistry(names: readonly string[]): Promise<Registry> {
  const tarballs = new Map<string, Buffer>();
  const manifests = new Map<string, InstalledManifest>();
  const wanted = new Set(names);
  for (const name of wanted) {
    const folder = await realpath(join(repositoryRoot, "node_modules", name));
    const prefixed = (header: Headers) => ({ ...header, name: `package/${header.name}` });
    tarballs.set(name, await buffer(pack(folder, { map: prefixed }).pipe(createGzip({ level: 1 }))));
    const manifest = JSON.parse(await readFile(join(folder, "package.json"), "utf8")) as InstalledManifest; // npm's
    const { dependencies = {}, optionalDependencies = {} } = manifest;
    const optional = Object.entries(optionalDependencies).filter(([other]) => isInstalled(other));
    manifests.set(name, { ...manifest, optionalDependencies: Object.fromEntries(optional) });
    for (const other of [...Object.keys(dependencies), ...optional.map(([other]) => other)]) wanted.add(other);
  }
  const server = createServer((request, response) => {
    const [, kind, name = ""] = /^\/(tarball\/)?(.*)$/.exec(decodeURIComponent(request.url ?? "")) ?? [];
    const tarball = tarballs.get(name);
    const manifest = manifests.get(name);
    if (tarball === undefined || manifest === undefined) response.writeHead(404).end();
    else if (kind !== undefined) response.end(tarball);
    else {
      const shasum = createHash("sha1").update(tarball).digest("hex");
      const dist = { tarball: `http://${request.headers.host}/tarball/${name}`, shasum };
      const versions = { [manifest.version]: { ...manifest, dist } };
      response.end(JSON.stringify({ name, "dist-tags": { latest: manifest.version }, versions }));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The registry has no port.");
  return {
    url: `http://127.0.0.1:${address.port}/`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

function isInstalled(name: string): boolean {
  return existsSync(join(repositoryRoot, "node_modules", name));
}
