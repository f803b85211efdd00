import { CheckpointError, isObject, shown } from "../errors.ts";

/** Typed access to a parsed config.json: a wrong type is an error with the key's full path. */
export class ConfigReader {
  private readonly json: Readonly<Record<string, unknown>>;
  private readonly file: string;
  /** Keys that lead to this object, each followed by a dot. */
  private readonly path: string;

  constructor(json: unknown, file: string, path = "") {
    this.file = file;
    this.path = path;
    if (!isObject(json)) {
      const expected = path === "" ? "a JSON object" : `an object at ${path.slice(0, -1)}`;
      throw new CheckpointError(`${file}: expected ${expected}.`, { file });
    }
    this.json = json;
  }

  /** The unchecked value; undefined when absent. */
  raw(key: string): unknown {
    return Object.hasOwn(this.json, key) ? this.json[key] : undefined;
  }

  has(key: string): boolean {
    return Object.hasOwn(this.json, key);
  }

  /** The object under `key`; `fallback`, or an empty one, when absent. */
  child(key: string, fallback: Readonly<Record<string, unknown>> = {}): ConfigReader {
    return new ConfigReader(this.raw(key) ?? fallback, this.file, `${this.path}${key}.`);
  }

  /** The same object with other values for some keys. */
  with(values: Readonly<Record<string, unknown>>): ConfigReader {
    return new ConfigReader({ ...this.json, ...values }, this.file, this.path);
  }

  string(key: string, fallback: string | undefined): string {
    const value = this.raw(key) ?? fallback;
    if (typeof value !== "string") throw this.error(key, "a string", value);
    return value;
  }

  number(key: string, fallback: number): number {
    return this.optionalNumber(key) ?? fallback;
  }

  optionalNumber(key: string): number | undefined {
    const value = this.raw(key) ?? undefined;
    if (value !== undefined && !isFiniteNumber(value)) throw this.error(key, "a number", value);
    return value;
  }

  /** A number, or a list that holds exactly one. */
  optionalNumberOrSingle(key: string): number | undefined {
    const value = this.raw(key);
    if (!Array.isArray(value)) return this.optionalNumber(key);
    const [only] = value;
    if (value.length !== 1 || typeof only !== "number") throw this.error(key, "one number", value);
    return only;
  }

  /** A positive integer, of at most `most`. */
  count(key: string, fallback: number, most = Number.MAX_SAFE_INTEGER): number {
    const value = this.number(key, fallback);
    if (Number.isInteger(value) && value >= 1 && value <= most) return value;
    const bound = most === Number.MAX_SAFE_INTEGER ? "" : ` of at most ${most}`;
    throw this.error(key, `a positive integer${bound}`, value);
  }

  /** What a norm adds to a variance: from 0 to 1. */
  epsilon(key: string, fallback: number): number {
    const value = this.number(key, fallback);
    if (value < 0 || value > 1) throw this.error(key, "a number from 0 to 1", value);
    return value;
  }

  /** The token id under `key`, or under `olderKey` if the file has no `key`. */
  tokenId(key: string, fallback: number, olderKey = key): number {
    const found = this.optionalNumber(key) === undefined ? olderKey : key;
    const id = this.number(found, fallback);
    if (!Number.isInteger(id) || id < 0) throw this.error(found, "a token id", id);
    return id;
  }

  boolean(key: string, fallback: boolean): boolean {
    return this.optionalBoolean(key) ?? fallback;
  }

  optionalBoolean(key: string): boolean | undefined {
    const value = this.raw(key) ?? undefined;
    if (value !== undefined && typeof value !== "boolean") throw this.error(key, "true or false", value);
    return value;
  }

  /** @throws CheckpointError when `key` is there at all (and not null). */
  refuse(key: string, what: string): void {
    if ((this.raw(key) ?? undefined) !== undefined) {
      throw new CheckpointError(
        `${this.file}: ${this.path}${key} is set, but ${what} are not implemented; use the plain f32, f16 or bf16 checkpoint.`,
        { file: this.file },
      );
    }
  }

  /** The error for a value that does not fit. */
  error(key: string, expected: string, got: unknown): CheckpointError {
    return new CheckpointError(`${this.file}: ${this.path}${key} must be ${expected}, got ${shown(got)}.`, {
      file: this.file,
    });
  }
}

function isFiniteNumber(value: unknown): value is number {
  return Number.isFinite(value);
}
