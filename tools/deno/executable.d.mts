// What tests take from executable.mjs.

/** The executable's path; undefined on platforms that Deno has no package for, such as Linux with musl. */
export function denoExecutable(): string | undefined;
