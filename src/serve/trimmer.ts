// A stream's text without the spaces around it, as the whole answer is told: those at the end are known only when it has ended.

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
