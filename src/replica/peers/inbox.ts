// Brings what peers send to the groups it is for, or to the watch over all of them. A log that is not open is
// opened by it.
//
// Invariant: nothing here believes a message: what is no message, or for no log of this node, is counted
// and dropped.
import { kindOf, logUidOf, messageEnd } from '../../raft/codec.ts';
import type { Logs } from '../logs.ts';
import type { LogSlot } from '../log-slot.ts';
import type { PeerWatch } from './watch.ts';
import { FIRST_WATCH_KIND } from './watch-messages.ts';

/** A message that waited longer for its log to open has been repeated meanwhile. */
const WAIT_MS = 1_000;

export class PeerInbox {
  dropped = 0;
  readonly #logs: Logs;
  readonly #watch: PeerWatch;
  readonly #slots = new Map<string, LogSlot>();

  constructor(logs: Logs, watch: PeerWatch) {
    this.#logs = logs;
    this.#watch = watch;
  }

  /** One frame: any number of whole messages. The buffer is kept until what is in it is written. */
  receive(frame: Buffer, nowMs: number): void {
    for (let at = 0; at < frame.length; ) {
      const end = messageEnd(frame, at);
      if (end === -1) {
        this.dropped++;
        return;
      }
      if (kindOf(frame, at) >= FIRST_WATCH_KIND) this.#watch.receive(frame.subarray(at, end));
      else this.#deliver(logUidOf(frame, at), frame.subarray(at, end), nowMs);
      at = end;
    }
  }

  #deliver(logUid: string, message: Buffer, nowMs: number): void {
    const slot = this.#slotOf(logUid);
    if (slot === null) {
      this.dropped++;
      return;
    }
    // Also to one that is being closed: it waits for what it has proposed.
    const replica = slot.replica ?? slot.upkeep?.replica ?? null;
    if (replica !== null) return replica.group.receive(message);
    this.#logs.opener.whenOpen(slot, {
      deadlineMs: nowMs + WAIT_MS,
      run: (log) => log.group.receive(message),
      fail: () => void this.dropped++,
    });
  }

  #slotOf(logUid: string): LogSlot | null {
    const known = this.#slots.get(logUid);
    if (known !== undefined && !known.deleted) return known;
    this.#slots.delete(logUid);
    for (const slot of this.#logs.slots()) {
      if (slot.uid !== logUid) continue;
      this.#slots.set(logUid, slot);
      return slot;
    }
    return null;
  }
}
