// One byte budget for everything that is kept on the GPU for later questions.

/** Bytes of the budget unless the caller says otherwise. */
export const DEFAULT_CACHE_BYTES = 256 * 2 ** 20;

/** Something that may be freed when room is needed. */
export interface LruItem {
  readonly numBytes: number;
  /** Frees it; called once, after the item has left the budget. */
  evict(): void;
}

/** Evicts the least recently used items, so that together they stay within a number of bytes. The newest item always stays. */
export class LruBudget {
  readonly maxBytes: number;
  /** In order of use, the least recent first. */
  private readonly items = new Set<LruItem>();

  /** @param maxBytes 0 keeps only the newest item */
  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /** Bytes of all items. */
  get numBytes(): number {
    let sum = 0;
    for (const { numBytes } of this.items) sum += numBytes;
    return sum;
  }

  /** Adds an item, or marks it as just used, and evicts what no longer fits. */
  use(item: LruItem): void {
    this.items.delete(item);
    this.items.add(item);
    for (const oldest of this.items) {
      if (oldest === item || this.numBytes <= this.maxBytes) return;
      this.items.delete(oldest);
      oldest.evict();
    }
  }

  /** Takes an item out without freeing it. */
  remove(item: LruItem): void {
    this.items.delete(item);
  }

  /** Evicts everything. */
  clear(): void {
    for (const item of this.items) {
      this.items.delete(item);
      item.evict();
    }
  }
}
