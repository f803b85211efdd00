// The installed npm packages: where they lie, what they need, what licence they carry.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** The platform whose native packages the bundle carries, as npm names it in package.json. */
const target = { os: "linux", cpu: "x64", libc: "glibc" };

/**
 * The folder of package `name` as `from` would find it.
 * @throws Error when it is not installed.
 */
export function packageFolder(name, from) {
  for (let folder = from; ; folder = dirname(folder)) {
    const found = join(folder, "node_modules", name);
    if (existsSync(join(found, "package.json"))) return found;
    if (dirname(folder) === folder) throw new Error(`the npm package ${name} is not installed; run npm ci`);
  }
}

/** The folders of the packages `names` and of all that they need at run time on the bundle's platform, sorted. */
export function withDependencies(names, root) {
  const folders = new Set();
  const add = (name, from, isOptional) => {
    const folder = packageFolder(name, from);
    if (folders.has(folder) || (isOptional && !isForTarget(folder))) return;
    folders.add(folder);
    const { dependencies = {}, optionalDependencies = {} } = manifestOf(folder);
    for (const needed of Object.keys(dependencies)) add(needed, folder, false);
    for (const needed of Object.keys(optionalDependencies)) {
      if (isInstalled(needed, folder)) add(needed, folder, true);
    }
  };
  for (const name of names) add(name, root, false);
  return [...folders].sort();
}

/** The innermost package that holds a file under node_modules. */
export function packageOfFile(file) {
  for (let folder = dirname(file); folder !== dirname(folder); folder = dirname(folder)) {
    if (/node_modules\/(@[^/]+\/)?[^/@]+$/.test(folder)) return folder;
  }
  throw new Error(`${file} is in no package`);
}

/** The licence of a package: a line that names it, and the texts it comes with; without any its README, which tells of it. */
export function licenceOf(folder) {
  const { name, version, license, author, homepage } = manifestOf(folder);
  const people = typeof author === "string" ? author : author?.name;
  const details = [license, people, homepage].filter((detail) => typeof detail === "string");
  const all = readdirSync(folder).sort();
  const licences = all.filter((file) => /^(licen[cs]e|copying|notice|third.?party)/i.test(file));
  const files = licences.length > 0 ? licences : all.filter((file) => /^readme/i.test(file));
  const texts = files.map((file) => readFileSync(join(folder, file), "utf8").trim());
  return { title: `${name} ${version}`, details: details.join(", "), texts };
}

/** A package's package.json. */
export function manifestOf(folder) {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
}

function isInstalled(name, from) {
  try {
    packageFolder(name, from);
    return true;
  } catch {
    return false;
  }
}

function isForTarget(folder) {
  const manifest = manifestOf(folder);
  return Object.entries(target).every(([key, value]) => manifest[key] === undefined || manifest[key].includes(value));
}
