// What clients know of one record that they tried to write: how each sending of it ended, and where it
// was seen. A record's value begins with its number, so that every reader can tell which one it reads.
//
// Invariant: `open` sendings have no answer yet; each of the others counts in exactly one of `acked`,
// `unknown` and `refused`.

export class Fate {
  readonly id: number;
  readonly client: string;
  readonly log: string;
  readonly size: number;
  open = 0;
  acked = 0;
  /** The answer, or its absence, leaves it open whether it is stored. */
  unknown = 0;
  /** Errors that guarantee that the sending had no effect. */
  refused = 0;
  /** The fence it was sent with; 0 = none. */
  fence = 0;
  /** What the log's end was known to be at least when it was first sent. */
  floor = 0;
  /** Where it is, as far as it is known: number of the log's history, offset; −1 = not known. */
  lineage = -1;
  offset = -1;
  /** What INIT_PRODUCER said about it later. */
  said: '' | 'stored' | 'not stored' = '';
  /** It must never appear, for this reason; '' = it may. */
  banned = '';
  /** Known when it was lost with everything after it in a log that promises less than fsync. */
  lost = false;
  /** Its producer's epoch and seq; −1 = it has none. */
  seq = -1;

  constructor(id: number, client: string, log: string, size: number) {
    this.id = id;
    this.client = client;
    this.log = log;
    this.size = size;
  }

  /** Every sending was answered by an error that guarantees no effect. */
  get hadNoEffect(): boolean {
    return this.refused > 0 && this.open === 0 && this.unknown === 0 && this.acked === 0;
  }

  toString(): string {
    return `record ${this.id} of ${this.client} (acked ${this.acked}, unknown ${this.unknown}, refused ${this.refused}, open ${this.open})`;
  }
}

/** Bytes of a value: its number, its length, and filling that depends on both. */
export function valueOf(fate: Fate): Buffer {
  const value = Buffer.allocUnsafe(Math.max(8, fate.size)).fill(fate.id & 0xff);
  value.writeUInt32BE(fate.id, 0);
  value.writeUInt32BE(value.length, 4);
  return value;
}

/** The number of a record, or −1 when the value is not one that valueOf made. */
export function idOf(buffer: Buffer, start: number, end: number): number {
  if (end - start < 8 || buffer.readUInt32BE(start + 4) !== end - start) return -1;
  const id = buffer.readUInt32BE(start);
  const last = buffer[end - 1]!;
  return end - start === 8 || last === (id & 0xff) ? id : -1;
}
