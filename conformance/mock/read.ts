// One open FETCH or SUBSCRIBE of a mock: answered when there is something, or its time is over.
import type { OpName } from '../wire/layouts.ts';
import { LAYOUTS } from '../wire/layouts.ts';
import { errorFrame, okFrame } from './answers.ts';
import type { MockLog } from './store.ts';

const DELIVER_BYTES = 256 * 1024;

type Fields = Readonly<Record<string, unknown>>;

export class MockRead {
  private readonly log: MockLog;
  private readonly id: number;
  private readonly request: Fields;
  private readonly change: Fields;
  private readonly send: (bytes: Buffer, isLast: boolean) => void;
  private readonly isFetch: boolean;
  private readonly timer: NodeJS.Timeout | null;
  private readonly onChange = (): void => this.step();
  private next: bigint;
  private balance: number;

  constructor(log: MockLog, name: OpName, id: number, request: Fields, change: Fields, send: (bytes: Buffer, isLast: boolean) => void) {
    this.log = log;
    this.id = id;
    this.request = request;
    this.change = change;
    this.send = send;
    this.isFetch = name === 'FETCH';
    this.next = this.startOf();
    this.balance = Number(request['credit_bytes'] ?? 0);
    log.watchers.add(this.onChange);
    this.timer = this.isFetch ? setTimeout(() => this.answer(), Math.min(Number(request['max_wait_ms']), 600_000)) : null;
    if (!this.isFetch) send(okFrame('SUBSCRIBE', id, { ...this.head(), ...change }, true), false);
  }

  /** Sends what can be sent now. */
  step(): void {
    if (this.isFetch) {
      const { min_bytes: min, max_bytes: max, max_wait_ms: wait } = this.request as { min_bytes: number; max_bytes: number; max_wait_ms: number };
      const bytes = this.log.from(this.next, max).reduce((sum, batch) => sum + batch.bytes.length, 0);
      if (wait === 0 || bytes >= Math.max(1, Math.min(min, max))) this.answer();
      return;
    }
    for (let batches = this.log.from(this.next, Math.min(this.balance, DELIVER_BYTES)); this.balance > 0 && batches.length > 0;
      batches = this.log.from(this.next, Math.min(this.balance, DELIVER_BYTES))) {
      const bytes = Buffer.concat(batches.map((batch) => batch.bytes));
      this.balance -= bytes.length;
      this.next = batches.at(-1)!.end;
      this.send(okFrame('DELIVER', this.id, { committed_end: this.log.end, batches: bytes }, true), false);
    }
  }

  credit(bytes: number): void {
    this.balance += bytes;
    this.step();
  }

  end(error: string): void {
    this.drop();
    this.send(errorFrame(this.isFetch ? LAYOUTS.FETCH.op : LAYOUTS.DELIVER.op, this.id, error, {}), true);
  }

  /** Forgets it without an answer. */
  drop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.log.watchers.delete(this.onChange);
  }

  private answer(): void {
    this.drop();
    const batches = this.log.from(this.next, Number(this.request['max_bytes']));
    this.send(okFrame('FETCH', this.id, { ...this.head(), batches: Buffer.concat(batches.map(({ bytes }) => bytes)), ...this.change }), true);
  }

  private head(): Fields {
    const asked = (this.request['ext'] as { type: number }[]).some(({ type }) => (type & 0x7fff) === 2);
    return { start_offset: this.next, log_start: this.log.start, committed_end: this.log.end, ext: asked ? [] : [{ type: 2, value: this.log.uid }] };
  }

  private startOf(): bigint {
    const value = this.request['value'] as bigint;
    switch (this.request['from']) {
      case 1: return this.log.start;
      case 2: return this.log.end;
      case 3: return this.log.batches.find(({ time }) => time >= value)?.base ?? this.log.end;
      case 4: return this.log.positions.get(String(this.request['position_name'])) ?? 0n;
      default: return value;
    }
  }
}
