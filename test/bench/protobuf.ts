// Just enough of protocol buffers to look into the ONNX models that the exporters write.
// Source: https://protobuf.dev/programming-guides/encoding/

/** One field of a message: a whole number or the bytes of text, of a message or of a float. */
export interface Field {
  readonly number: number;
  readonly value: bigint | Uint8Array;
}

/** The fields of a message, in order. */
export function* readFields(bytes: Uint8Array): Generator<Field> {
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error("The message ends within a number.");
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const wireType = key & 7;
    if (wireType === 0) {
      yield { number: key >> 3, value: varint() };
      continue;
    }
    const length = wireType === 5 ? 4 : Number(varint());
    if (at + length > bytes.length) throw new Error(`Field ${key >> 3} is longer than its message.`);
    yield { number: key >> 3, value: bytes.subarray(at, at + length) };
    at += length;
  }
}

/** Contents of the message's fields of this number that have bytes. */
export function messages(bytes: Uint8Array, number: number): readonly Uint8Array[] {
  return [...readFields(bytes)].flatMap((field) =>
    field.number === number && typeof field.value !== "bigint" ? [field.value] : [],
  );
}

/** Texts of the message's fields of this number. */
export function texts(bytes: Uint8Array, number: number): readonly string[] {
  return messages(bytes, number).map((text) => new TextDecoder().decode(text));
}

/** The whole number of the message's first field of this number; NaN without one. */
export function integer(bytes: Uint8Array, number: number): number {
  const field = [...readFields(bytes)].find((candidate) => candidate.number === number);
  return typeof field?.value === "bigint" ? Number(field.value) : Number.NaN;
}
