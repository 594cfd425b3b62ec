// What the two copies of the raft-state journal say together, after a crash or with damage in them.
// Pure: bytes in, state out. It relies on the order of writing: a group of records goes to .a, is
// synced there, and only then goes to .b; a rewrite replaces .a, then .b, before anything is added.
//
// Invariant: a replica's state is never taken from an older record when a newer one may have been
// acknowledged. Where that cannot be excluded the replica is lost.
import { readRecord, RECORD_SIZE, type JournalRecord, type RaftStateRecord } from './journal-record.ts';
import { mut } from '../wire/mut.ts';

export interface MergedState {
  /** By `replicaKey`; those that are lost are marked so. */
  readonly entries: Map<string, RaftStateRecord>;
  /** Replicas may be missing from `entries`: a log directory without an entry is a lost replica. */
  readonly incomplete: boolean;
  /** Greater than every sequence that was ever used. */
  readonly nextSequence: number;
  /** What is not to be read in either copy makes replicas lost, or `entries` incomplete. */
  readonly damaged: boolean;
  /** Both copies are whole and equal, and end at this byte; null = write both anew. */
  readonly cleanEnd: number | null;
}

export function replicaKey(logUid: Buffer, replicaId: number): string {
  return `${logUid.toString('hex')}/${replicaId}`;
}

type Slot = JournalRecord | 'free' | 'bad';

/** One copy, parsed: slot i lies at i × 64 and has the sequence first + i. */
interface Copy {
  readonly slots: readonly Slot[];
  readonly first: number;
  /** Slots from here on are free. */
  readonly usedEnd: number;
  /** Slots from here on are not valid. */
  readonly validEnd: number;
}

/**
 * Merges the bytes of both copies; null = there is no such file. Throws JournalVersionError.
 */
export function mergeCopies(a: Buffer | null, b: Buffer | null): MergedState {
  const copyA = a === null ? null : parse(a, 'raft-state.a');
  const copyB = b === null ? null : parse(b, 'raft-state.b');
  if (copyA === null && copyB === null) {
    const fresh = a === null && b === null;
    return { entries: new Map(), incomplete: !fresh, damaged: !fresh, nextSequence: 1, cleanEnd: null };
  }
  const copies = [copyA, copyB].filter((copy) => copy !== null);
  const records = copies.flatMap((copy) => copy.slots.filter((slot) => slot !== 'free' && slot !== 'bad'));
  const damagedAt = damagePlace(copyA, copyB, records);
  const merged = collect(records, damagedAt);
  // What a torn group used is not used again, whether or not it can be read.
  const nextSequence = Math.max(...copies.map((copy) => copy.first + copy.usedEnd));
  const clean = a !== null && b !== null && copyA !== null && copyB !== null && isClean(copyA, a, copyB, b);
  return { ...merged, damaged: damagedAt >= 0, nextSequence, cleanEnd: clean ? copyA.usedEnd * RECORD_SIZE : null };
}

/** Null when not one record can be read. */
function parse(bytes: Buffer, path: string): Copy | null {
  const slots: Slot[] = [];
  let first = -1;
  for (let at = 0; at + RECORD_SIZE <= bytes.length; at += RECORD_SIZE) {
    const slot = readRecord(bytes, at, path);
    if (slot === 'free' || slot === 'bad') {
      slots.push(slot);
      continue;
    }
    const misplaced = (slot.sequence - slot.first) * RECORD_SIZE !== at || (first >= 0 && slot.first !== first);
    slots.push(misplaced ? 'bad' : slot);
    if (!misplaced) first = slot.first;
  }
  if (first < 0) return null;
  const usedEnd = slots.findLastIndex((slot) => slot !== 'free') + 1;
  const validEnd = slots.findLastIndex((slot) => slot !== 'free' && slot !== 'bad') + 1;
  return { slots, first, usedEnd, validEnd };
}

/** The highest sequence at which an acknowledged record may have been and cannot be read; −1 = none. */
function damagePlace(a: Copy | null, b: Copy | null, records: readonly JournalRecord[]): number {
  if (a !== null && b !== null && a.first === b.first) return damageOfPair(a, b);
  if (a === null || b === null) return damageOfOne((a ?? b) as Copy);
  // A rewrite was cut short: the newer copy states anew all that the older one had, and nothing was
  // added since. If its statement is damaged, the older copy still has everything.
  const [newer, older] = a.first > b.first ? [a, b] : [b, a];
  if (isWholeStatement(newer)) return -1;
  const head = records.find((record) => record.kind === 'head' && record.first === newer.first);
  const baseEnd = head?.kind === 'head' ? head.baseCount + 1 : newer.usedEnd;
  if (newer.validEnd > baseEnd) return damageOfOne(newer);
  return damageOfOne(older);
}

/** Both copies hold the same sequences, .b never more than .a. */
function damageOfPair(a: Copy, b: Copy): number {
  for (let i = Math.max(a.usedEnd, b.usedEnd) - 1; i >= 0; i--) {
    if (isValid(a.slots[i]) || isValid(b.slots[i])) continue;
    if (i >= b.usedEnd) continue; // never reached .b: not acknowledged, torn by the crash
    if (i >= a.usedEnd && i >= b.validEnd) continue; // never reached .a: stray bits in free space of .b
    return a.first + i;
  }
  return -1;
}

/** Without the other copy nothing tells a torn group from a damaged one. */
function damageOfOne(copy: Copy): number {
  for (let i = copy.usedEnd - 1; i >= 0; i--) if (!isValid(copy.slots[i])) return copy.first + i;
  return -1;
}

function isWholeStatement(copy: Copy): boolean {
  const head = copy.slots[0];
  if (head === undefined || head === 'free' || head === 'bad' || head.kind !== 'head') return false;
  return copy.usedEnd >= head.baseCount + 1 && copy.slots.slice(0, copy.usedEnd).every(isValid);
}

/** The newest record of each replica; older than the damage = lost. */
function collect(records: readonly JournalRecord[], damagedAt: number): { entries: Map<string, RaftStateRecord>; incomplete: boolean } {
  const newest = new Map<string, JournalRecord & { kind: 'state' }>();
  let newestHead: (JournalRecord & { kind: 'head' }) | null = null;
  for (const record of records) {
    if (record.kind === 'head') {
      if (newestHead === null || record.sequence > newestHead.sequence) newestHead = record;
      continue;
    }
    const key = replicaKey(record.entry.logUid, record.entry.replicaId);
    const known = newest.get(key);
    if (known === undefined || record.sequence > known.sequence) newest.set(key, record);
  }
  const entries = new Map<string, RaftStateRecord>();
  for (const [key, { sequence, entry }] of newest) {
    // A removed replica stays removed: its id is never used again.
    const lost = sequence < damagedAt && entry.state !== 'removed' && !mut('rot-brings-back-an-old-vote');
    entries.set(key, lost ? { ...entry, state: 'lost' } : entry);
  }
  return { entries, incomplete: (damagedAt >= 0 && !mut('rot-brings-back-an-old-vote')) || newestHead === null || newestHead.incomplete };
}

function isClean(a: Copy, bytesA: Buffer, b: Copy, bytesB: Buffer): boolean {
  if (a.first !== b.first || a.usedEnd !== b.usedEnd || bytesA.length !== bytesB.length) return false;
  if (!a.slots.slice(0, a.usedEnd).every(isValid)) return false;
  const head = a.slots[0] as JournalRecord;
  return head.kind === 'head' && bytesA.length % RECORD_SIZE === 0 && bytesA.equals(bytesB);
}

function isValid(slot: Slot | undefined): boolean {
  return slot !== undefined && slot !== 'free' && slot !== 'bad';
}
