// The named positions of one log as their movers know them. Values only rise and each is put by one
// request, so every stored value has exactly one predecessor and at most one successor.
import { NONE } from '../../../src/wire/limits.ts';
import { demand } from '../core/failure.ts';
import type { LogHistory } from './log-history.ts';

export interface Put {
  readonly name: string;
  readonly expected: number;
  readonly value: number;
  /** Number of the log that it belongs to. */
  readonly log: number;
  state: 'open' | 'stored' | 'failed';
}

/** Values of different movers differ by their number; a value and its successor by at least this. */
const STEP = 64;

export class PositionHistory {
  readonly names: readonly string[];
  readonly #log: () => LogHistory;
  #number = -1;
  #era = 0;
  #floors = new Map<string, number>();
  #puts = new Map<string, Put>();
  /** By name and value: the put that is known to have replaced it. */
  #successors = new Map<string, Put>();
  #highest = 0;

  constructor(names: readonly string[], log: () => LogHistory) {
    this.names = names;
    this.#log = log;
  }

  /** The largest value of `name` that is known to have been current. */
  floor(name: string): number {
    this.#follow();
    return this.#floors.get(name) ?? 0;
  }

  /** A value above `expected` that nobody else puts. */
  newValue(expected: number, mover: number): number {
    this.#highest = Math.max(this.#highest, Math.floor(expected / STEP)) + 1;
    return this.#highest * STEP + mover;
  }

  putting(name: string, expected: number, value: number): Put {
    this.#follow();
    const put: Put = { name, expected, value, log: this.#number, state: 'open' };
    this.#puts.set(`${name} ${value}`, put);
    return put;
  }

  /** PUT_POSITION was answered OK. */
  stored(put: Put): void {
    if (!this.#isOurs(put)) return;
    this.#replaced(put);
    put.state = 'stored';
    this.#raise(put.name, put.value);
  }

  /** PUT_POSITION was refused without effect; `current` is the value it says is there, NONE if none. */
  failed(put: Put, current: number): void {
    if (!this.#isOurs(put)) return;
    demand(put.state !== 'stored', 'positions', () => `${put.name}: ${put.value} was refused, and had been seen`);
    demand(current !== put.expected, 'positions', () => `${put.name}: ${put.expected} was expected, is there, and is a mismatch`);
    put.state = 'failed';
  }

  /** An answer says that `value` is current; `floor` is what was known when it was asked. */
  seen(name: string, value: number, floor: number, by: string): void {
    this.#follow();
    demand(value >= floor, 'positions', () => `${by} says ${name} is ${value}, and ${floor} had been acknowledged before it was asked`);
    if (value === 0) return;
    const put = this.#puts.get(`${name} ${value}`);
    demand(put !== undefined, 'positions', () => `${by} says ${name} is ${value}, which nobody put`);
    demand(put.state !== 'failed', 'positions', () => `${by} says ${name} is ${value}, which was refused without effect`);
    if (put.state === 'open') this.#replaced(put);
    put.state = 'stored';
    this.#raise(name, value);
  }

  /** Each value may be replaced once: two that replaced the same one are a lost update. */
  #replaced(put: Put): void {
    const key = `${put.name} ${put.expected}`;
    const other = this.#successors.get(key);
    demand(other === undefined || other === put, 'positions', () => `${put.name}: both ${other!.value} and ${put.value} replaced ${put.expected}`);
    this.#successors.set(key, put);
  }

  #raise(name: string, value: number): void {
    if (value > (this.#floors.get(name) ?? 0)) this.#floors.set(name, value);
  }

  #isOurs(put: Put): boolean {
    this.#follow();
    return put.log === this.#number && put.value !== NONE;
  }

  /** Begins anew when the log is another one, or may have lost its end. */
  #follow(): void {
    const log = this.#log();
    if (log.number === this.#number && log.era === this.#era) return;
    if (log.number !== this.#number) this.#puts.clear();
    // What had been stored may be lost, or not.
    for (const put of this.#puts.values()) if (put.state === 'stored') put.state = 'open';
    this.#number = log.number;
    this.#era = log.era;
    this.#floors.clear();
    this.#successors.clear();
  }
}
