// What happened, as a hash: two runs of one seed must have the same one, on every version of Node.
// With `lines` set the same events are also told in words.
//
// Invariant: nothing that differs between two runs of a seed goes in: no real time, no object order
// that is left to chance.

/** Which kind of event; append only, so that hashes of old seeds keep their meaning while code stays. */
export const TraceKind = { DISK: 1, NET: 2, NODE: 3, CLIENT: 4, FAULT: 5, CHECK: 6 } as const;
export type TraceKind = (typeof TraceKind)[keyof typeof TraceKind];

const HIGH = 0x1_0000_0000;

export class Trace {
  count = 0;
  /** Takes the readable trace, one line per event; null = nobody reads it. */
  readonly lines: ((line: string) => void) | null;
  readonly #now: () => number;
  #a = 0x811c_9dc5 | 0;
  #b = 0x1234_5678 | 0;

  constructor(now: () => number, lines: ((line: string) => void) | null) {
    this.#now = now;
    this.lines = lines;
  }

  /** Notes an event: its kind and up to three whole numbers (−1 … 2^53). */
  add(kind: TraceKind, a: number, b: number, c: number): void {
    this.count++;
    this.#mix(kind);
    this.#mixNumber(this.#now());
    this.#mixNumber(a);
    this.#mixNumber(b);
    this.#mixNumber(c);
  }

  /** Notes a text, in the hash and in the readable trace. */
  say(kind: TraceKind, text: string): void {
    this.count++;
    this.#mix(kind);
    this.#mixNumber(this.#now());
    for (let i = 0; i < text.length; i++) this.#mix(text.charCodeAt(i));
    this.line(text);
  }

  /** In the readable trace only. */
  line(text: string): void {
    this.lines?.(`${(this.#now() / 1e6).toFixed(6).padStart(11)} ${text}`);
  }

  get hash(): string {
    return (this.#a >>> 0).toString(16).padStart(8, '0') + (this.#b >>> 0).toString(16).padStart(8, '0');
  }

  #mixNumber(value: number): void {
    this.#mix(value | 0);
    this.#mix(Math.floor(value / HIGH) | 0);
  }

  #mix(word: number): void {
    this.#a = Math.imul(this.#a ^ word, 0x0100_0193) ^ (this.#a >>> 15);
    this.#b = Math.imul((this.#b << 5) ^ (this.#b >>> 27) ^ word, 0x85eb_ca6b);
  }
}
