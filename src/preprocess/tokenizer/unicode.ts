// Unicode as the Rust libraries under Hugging Face's tokenizers know it. Their tables are older than those of JavaScript's hosts, so
// that they leave newer characters alone. The ranges below are the characters on which both differ; every code point was compared.
//
// Source: tokenizers 0.23.3 (unicode-normalization-alignments 0.1.12, unicode_categories 0.1.1) and ICU with Unicode 17.

/** Marks, and characters with a decomposition, that are neither in those tables: hexadecimal ranges. */
const NEWER_MARKS =
  "7fd 897-89f 8ca-8d3 9fe afa-aff b55 c04 c3c cf3 d00 d3b-d3c d81 eba ece 1715 180f 1abf-1add 1ae0-1aeb 1cf7 " +
  "1df6-1dfa 32ff a7f1-a7f4 a82c a8ff ab69 105c9 105e4 10781-10785 10787-107b0 107b2-107ba 10d24-10d27 " +
  "10d69-10d6d 10eab-10eac 10efa-10eff 10f46-10f50 10f82-10f85 11070 11073-11074 110c2 11145-11146 111c9 " +
  "111ce-111cf 11241 1133b 11383 11385 1138e 11391 113b8-113c0 113c2 113c5 113c7-113ca 113cc-113d0 113d2 " +
  "113e1-113e2 1145e 1182c-1183a 11930-11935 11937-11938 1193b-1193e 11940 11942-11943 119d1-119d7 119da-119e0 " +
  "119e4 11a01-11a0a 11a33-11a39 11a3b-11a3e 11a47 11a51-11a5b 11a8a-11a99 11b60-11b67 11d31-11d36 11d3a " +
  "11d3c-11d3d 11d3f-11d45 11d47 11d8a-11d8e 11d90-11d91 11d93-11d97 11ef3-11ef6 11f00-11f01 11f03 11f34-11f3a " +
  "11f3e-11f42 11f5a 13440 13447-13455 1611e-1612f 16d68-16d6a 16f4f 16f7f-16f87 16fe4 16ff0-16ff1 1ccd6-1ccf9 " +
  "1cf00-1cf2d 1cf30-1cf46 1e030-1e06d 1e08f 1e130-1e136 1e2ae 1e2ec-1e2ef 1e4ec-1e4ef 1e5ee-1e5ef 1e6e3 1e6e6 " +
  "1e6ee-1e6ef 1e6f5 1f16c 1fbf0-1fbf9";
/** Punctuation that is none in those tables. */
const NEWER_PUNCTUATION =
  "61d 9fd a76 c77 c84 1b4e-1b4f 1b7d-1b7f 2e43-2e4f 2e52-2e5d 10d6e 10ead 10ed0 10f55-10f59 10f86-10f89 " +
  "113d4-113d5 113d7-113d8 1144b-1144f 1145a-1145b 1145d 11660-1166c 116b9 1183b 11944-11946 119e2 11a3f-11a46 " +
  "11a9a-11a9c 11a9e-11aa2 11b00-11b09 11be1 11c41-11c45 11c70-11c71 11ef7-11ef8 11f43-11f4f 11fff 12ff1-12ff2 " +
  "16d6d-16d6f 16e97-16e9a 16fe2 1e5ff 1e95e-1e95f";
/** Marks of those tables that are letters today, and punctuation that is none today. */
const FORMER_MARKS = "1cf2-1cf3";
const FORMER_PUNCTUATION = "166d 111c9";

/** Unicode normalization. @param form the name of the form */
export function normalizeUnicode(text: string, form: "NFC" | "NFD" | "NFKC" | "NFKD"): string {
  if (!NEWER.test(text)) return text.normalize(form);
  return text.replace(KNOWN_RUN, (run) => run.normalize(form));
}

/** A text without its combining marks. */
export function stripAccents(text: string): string {
  return text.replace(MARK, (mark) => (NEWER.test(mark) ? mark : ""));
}

/** Whether a character is punctuation, all of ASCII's symbols included. */
export function isPunctuation(codePoint: number): boolean {
  return PUNCTUATION.test(String.fromCodePoint(codePoint));
}

const NEWER = new RegExp(`[${classOf(NEWER_MARKS)}]`, "u");
const KNOWN_RUN = new RegExp(`[^${classOf(NEWER_MARKS)}]+`, "gu");
const MARK = new RegExp(`[\\p{M}${classOf(FORMER_MARKS)}]`, "gu");
const PUNCTUATION = new RegExp(
  `^(?![${classOf(NEWER_PUNCTUATION)}])[\\p{P}!-/:-@[-\`{-~${classOf(FORMER_PUNCTUATION)}]$`,
  "u",
);

/** Hexadecimal ranges as the content of a class of RegExp. */
function classOf(ranges: string): string {
  return ranges.replace(/[0-9a-f]+/g, (code) => `\\u{${code}}`).replaceAll(" ", "");
}
