// What went over one connection, in both directions, with times: kept as bytes, decoded only when a
// failure is reported. Long payloads are cut, so that a trace of a flood stays small.

/** Events kept per connection: the first and the last this many. */
const EVENTS_KEPT = 60;
const BYTES_KEPT = 2048;

export interface TraceEvent {
  /** Since the case began. */
  readonly ms: number;
  /** `>` to the server, `<` from it, `-` something that happened. */
  readonly dir: '>' | '<' | '-';
  readonly bytes?: Buffer;
  /** Size before the cut. */
  readonly size?: number;
  readonly framed?: boolean;
  readonly note?: string;
}

export class Trace {
  readonly label: string;
  readonly first: TraceEvent[] = [];
  readonly last: TraceEvent[] = [];
  dropped = 0;
  private readonly began: number;

  constructor(label: string, began: number) {
    this.label = label;
    this.began = began;
  }

  note(text: string): void {
    this.add({ ms: performance.now() - this.began, dir: '-', note: text });
  }

  /** `framed`: the bytes are exactly one frame. */
  bytes(dir: '>' | '<', bytes: Buffer, framed: boolean): void {
    const kept = bytes.length > BYTES_KEPT ? Buffer.from(bytes.subarray(0, BYTES_KEPT)) : bytes;
    this.add({ ms: performance.now() - this.began, dir, bytes: kept, size: bytes.length, framed });
  }

  /** Of the bytes that came last, `size` at the end will be told again, as frames. */
  withdraw(size: number): void {
    const events = this.last.length > 0 ? this.last : this.first;
    const event = events.pop();
    if (event?.bytes === undefined) return;
    const left = event.size! - size;
    if (left > 0) events.push({ ...event, bytes: event.bytes.subarray(0, left), size: left });
  }

  private add(event: TraceEvent): void {
    if (this.first.length < EVENTS_KEPT) {
      this.first.push(event);
      return;
    }
    this.last.push(event);
    if (this.last.length > EVENTS_KEPT) {
      this.last.shift();
      this.dropped++;
    }
  }
}
