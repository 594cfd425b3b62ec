// Where the batches of a sealed segment begin, as its stored index says: for a walk that met damage. The
// index is opened at the first question, so a walk that meets none costs no file.
import type { Disk } from '../index/disk.ts';
import { IndexDamageError, type OffsetIndex } from '../index/offset-index.ts';
import { NONE } from '../wire/limits.ts';
import { openStoredIndex } from './index-build.ts';
import type { Segment } from './segment.ts';

export class StoredPlaces {
  readonly #disk: Disk;
  readonly #segment: Segment;
  /** Null: there is none that could be asked. */
  #index: OffsetIndex | null = null;
  #opened = false;

  constructor(disk: Disk, segment: Segment) {
    this.#disk = disk;
    this.#segment = segment;
  }

  /** Where the batch `index` begins; NONE where that is not known. Rejects with DiskError. */
  async placeOf(index: number): Promise<number> {
    if (!this.#opened) await this.#open();
    if (this.#index === null) return NONE;
    try {
      return this.#index.positionAt(index - this.#segment.firstIndex);
    } catch (error) {
      if (!(error instanceof IndexDamageError)) throw error;
      return NONE;
    }
  }

  async #open(): Promise<void> {
    this.#index = await openStoredIndex(this.#disk, this.#segment);
    this.#opened = true;
  }

  async close(): Promise<void> {
    await this.#index?.close();
  }
}
