/** See sources.mjs: the part of it that tests use. */
export function readText(path: string): string;
export function formulaOwner(name: string): string;
export function twinFile(name: string): string;
