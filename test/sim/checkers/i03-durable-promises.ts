// I3: a vote or an append ack leaves only after its state is durable. Watched where a message leaves: the
// disk is asked what a power cut at this moment would leave of it. And a vote is given once in a term.
import { JOURNAL_PATHS } from '../../../src/segment/journal.ts';
import { readRecord, RECORD_SIZE } from '../../../src/segment/journal-record.ts';
import { MessageKind } from '../../../src/raft/types.ts';
import { demand } from '../core/failure.ts';
import type { Checker } from '../history/watch.ts';
import type { SimNode } from '../node/sim-node.ts';
import type { DurableLogs } from './durable-logs.ts';
import { isGranted, kindOf, matchOf, receiverOf, senderOf, uidOf, votedTermOf } from './raft-frame.ts';

export class DurablePromises implements Checker {
  readonly rule = 'I3';
  readonly #logs: DurableLogs;
  /** By log, replica and term: for whom it voted. */
  readonly #votes = new Map<string, number>();

  constructor(logs: DurableLogs) {
    this.#logs = logs;
  }

  message(from: SimNode, frame: Buffer): void {
    switch (kindOf(frame)) {
      case MessageKind.Vote:
        return this.#vote(from, frame, senderOf(frame));
      case MessageKind.VoteReply:
        return isGranted(frame) ? this.#vote(from, frame, receiverOf(frame)) : undefined;
      case MessageKind.AppendAck:
        return this.#ack(from, frame);
      default:
        return;
    }
  }

  #vote(from: SimNode, frame: Buffer, candidate: number): void {
    const uid = uidOf(frame);
    const term = votedTermOf(frame);
    const key = `${uid} ${senderOf(frame)} ${term}`;
    const before = this.#votes.get(key) ?? candidate;
    demand(before === candidate, this.rule, () => `${from.name} votes for ${candidate} in term ${term} of ${uid}, and had voted for ${before}`);
    this.#votes.set(key, candidate);
    for (const path of JOURNAL_PATHS) {
      if (from.rotted.has(path)) continue;
      const stored = storedVote(from, path, uid, senderOf(frame));
      const holds = stored !== null && (stored.term > term || (stored.term === term && stored.vote === candidate));
      demand(holds, this.rule, () => `${from.name} votes for ${candidate} in term ${term} of ${uid}, and ${path} on its disk says ${stored === null ? 'nothing' : `term ${stored.term}, vote ${stored.vote}`}`);
    }
  }

  #ack(from: SimNode, frame: Buffer): void {
    const uid = uidOf(frame);
    const match = matchOf(frame);
    // A replica whose entries have rotted knows its end all the same, and goes on acking what comes after it.
    for (const path of from.rotted) if (path.startsWith(`logs/${uid}/`)) return;
    const reached = this.#logs.reach(from, uid, match);
    demand(reached >= match, this.rule, () => `${from.name} acks entry ${match} of ${uid}, and its disk has it up to ${reached}`);
  }
}

/** The last valid record of a replica in what is durable of one copy of the journal. */
function storedVote(node: SimNode, path: string, uid: string, replicaId: number): { term: number; vote: number } | null {
  const file = node.disk.media.file(path);
  if (file === null) return null;
  const bytes = Buffer.alloc(file.durableSize);
  file.readDurable(bytes, 0, bytes.length, 0);
  let found: { sequence: number; term: number; vote: number } | null = null;
  for (let at = 0; at + RECORD_SIZE <= bytes.length; at += RECORD_SIZE) {
    const record = readRecord(bytes, at, path);
    if (record === 'free') break;
    if (record === 'bad' || record.kind === 'head') continue;
    const { entry, sequence } = record;
    if (entry.replicaId !== replicaId || entry.logUid.toString('hex') !== uid) continue;
    if (found === null || sequence > found.sequence) found = { sequence, term: entry.term, vote: entry.vote };
  }
  return found;
}
