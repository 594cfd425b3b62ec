// Brings term and vote to disk: one write under way, the newest wanted next. What must wait for it waits
// in the core (send.ts there), so that nothing here can get I3 wrong.
//
// Invariant: a sequence is reported stored only when the value that had it, or a later one, is.
import type { HardState } from '../types.ts';
import type { HardStatePort } from './ports.ts';
import { mut } from '../../wire/mut.ts';

export interface HardStateEvents {
  hardStateStored(sequence: number): void;
  hardStateFailed(full: boolean): void;
}

export class HardStateWriter {
  readonly #port: HardStatePort;
  readonly #events: HardStateEvents;
  #wanted: HardState | null = null;
  #storedSequence = 0;
  #busy = false;
  /** A write has failed for good, or the driver was closed. */
  #ended = false;

  constructor(port: HardStatePort, events: HardStateEvents) {
    this.#port = port;
    this.#events = events;
  }

  store(state: HardState): void {
    this.#wanted = state;
    this.retry();
  }

  /** Goes on where a full disk had stopped it. */
  retry(): void {
    if (this.#busy || this.#ended || !this.missing) return;
    this.#busy = true;
    void this.#write();
  }

  /** Something that was wanted is not on disk. */
  get missing(): boolean {
    return this.#wanted !== null && this.#wanted.sequence > this.#storedSequence;
  }

  end(): void {
    this.#ended = true;
  }

  async #write(): Promise<void> {
    const { term, vote, sequence } = this.#wanted!;
    const result = mut('vote-not-persisted') ? 'stored' : await this.#port.put(term, vote);
    this.#busy = false;
    if (this.#ended) return;
    if (result !== 'stored') {
      if (result === 'failed') this.#ended = true;
      this.#events.hardStateFailed(result === 'full');
      return;
    }
    this.#storedSequence = sequence;
    this.#events.hardStateStored(sequence);
    this.retry();
  }
}
