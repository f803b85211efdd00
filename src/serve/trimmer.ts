// Trims the text of a stream as a whole answer is trimmed. Spaces are held back until more text follows, because only then is it known
// that they do not end the answer.

/** Trims a text that comes in pieces. */
export class Trimmer {
  private held = "";
  private hasBegun = false;

  /** What can be sent of the text so far. */
  push(piece: string): string {
    const text = this.hasBegun ? this.held + piece : piece.trimStart();
    const kept = text.trimEnd();
    if (kept === "") {
      if (this.hasBegun) this.held = text;
      return "";
    }
    this.hasBegun = true;
    this.held = text.slice(kept.length);
    return kept;
  }
}
