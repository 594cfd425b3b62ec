// The planted bugs. mutants-run.ts looks for them; docs/testing.md has the table of where each was found.

import type { FaultKind } from './options.ts';

export interface Mutant {
  readonly name: string;
  readonly what: string;
  /** Nodes of the worlds in which it is looked for. */
  readonly nodes: 1 | 3 | 5;
  /** Worlds without these faults are passed over: they cannot show it, or hardly. */
  readonly needs?: readonly FaultKind[];
  /** It shows by a world that stands still; of any other that proves nothing. */
  readonly standstill?: true;
}

/** Each is `mut(its name)` somewhere in src, or in what stands in for the cluster here. */
export const MUTANTS: readonly Mutant[] = [
  { name: 'ack-before-fsync', nodes: 1, what: 'a group is acknowledged without its sync' },
  { name: 'sync-again-after-a-failure', nodes: 1, what: 'a failed sync is made again as if nothing had happened', needs: ['diskErrors'] },
  { name: 'found-after-a-crash-not-synced', nodes: 1, what: 'what a start finds behind the mark counts without a sync' },
  { name: 'segment-named-without-sync', nodes: 1, what: 'a new segment counts before its name is synced' },
  { name: 'mark-not-lowered-before-a-cut', nodes: 3, what: 'the durable mark stays where it was while the log is cut', needs: ['kill'] },
  { name: 'index-trusted-by-length', nodes: 1, what: 'an index has as many entries as its file has room for' },
  { name: 'clock-jump-believed', nodes: 1, what: 'a wall clock that jumps is believed: age retention deletes young records', needs: ['clockJump'] },
  { name: 'damaged-body-served', nodes: 1, what: 'the checksum of a body is not looked at before it is served', needs: ['rot'] },
  { name: 'fence-ignored', nodes: 1, what: 'a produce under an old fence is taken' },
  { name: 'position-set-without-comparing', nodes: 1, what: 'PUT_POSITION does not compare with what is there' },
  { name: 'refusal-before-its-tail-commits', nodes: 1, what: 'a refusal is sent before what it was judged against is committed' },
  { name: 'duplicate-answered-before-its-commit', nodes: 3, what: 'a duplicate is answered before its original is committed', needs: ['partition'] },
  { name: 'snapshot-without-window', nodes: 1, what: 'the table that tells duplicates is not in the snapshot' },
  { name: 'offsets-go-on-after-a-cut', nodes: 3, what: 'offsets of entries that were cut off are left out' },
  { name: 'offsets-used-again-after-a-cut', nodes: 3, what: 'a truncation sets the next offset back to the first one of its segment' },
  { name: 'uncommitted-served', nodes: 3, what: 'readers see entries that are not committed' },
  { name: 'vote-not-persisted', nodes: 3, what: 'term and vote are taken for stored before they are' },
  { name: 'second-vote-in-a-term', nodes: 3, what: 'a replica votes twice in a term' },
  { name: 'vote-for-a-shorter-log', nodes: 3, what: 'a vote goes to a candidate whose log is behind' },
  { name: 'rot-brings-back-an-old-vote', nodes: 3, what: 'rot in raft-state falls back to the older record', needs: ['rot'] },
  { name: 'lost-replica-goes-on', nodes: 3, what: 'a replica that forgot what it had promised goes on promising', needs: ['rot'] },
  { name: 'wiped-node-keeps-its-identity', nodes: 3, what: 'an emptied node comes back as the same replica', needs: ['wipe'], standstill: true },
  { name: 'follower-acks-unsynced', nodes: 3, what: 'a follower acks entries that are not on its disk' },
  { name: 'leader-counts-itself-unsynced', nodes: 3, what: 'the leader counts its own copy before its sync' },
  { name: 'older-term-committed-by-counting', nodes: 3, what: 'an entry of an older term is committed by counting copies (Raft, figure 8)' },
  { name: 'follower-commits-unverified', nodes: 3, what: 'a follower commits entries that were never compared with the leader' },
  { name: 'append-without-consistency-check', nodes: 3, what: 'a follower does not look at the term before the new entries' },
  { name: 'append-cuts-what-follows', nodes: 3, what: 'a late Append cuts off what came after it' },
  { name: 'truncate-below-commit', nodes: 3, what: 'a late Append cuts off even what is committed' },
  { name: 'stale-completion-accepted', nodes: 3, what: 'a completion of an older generation counts for the entries that are there now', needs: ['partition'] },
  { name: 'leader-cuts-its-log-and-stays', nodes: 3, what: 'a leader whose disk is full cuts its log and goes on in its term', needs: ['diskFull'] },
  { name: 'lease-answered-as-read', nodes: 3, what: 'a leader answers linearizable reads without asking the others', needs: ['freeze'] },
  { name: 'catch-up-drops-an-acked-tail', nodes: 3, what: 'an installed snapshot takes away entries behind it that were acked', needs: ['rot'] },
  { name: 'installed-without-sync', nodes: 5, what: 'an installed snapshot counts before it is synced', needs: ['move'] },
  { name: 'learner-counted', nodes: 5, what: 'the copy of a learner counts towards the majority', needs: ['move'] },
  { name: 'promoted-before-caught-up', nodes: 5, what: 'a learner votes before it has caught up', needs: ['move'] },
  { name: 'change-before-the-noop', nodes: 5, what: 'a leader changes the voters before an entry of its own term is committed', needs: ['move'] },
  { name: 'two-changes-at-once', nodes: 5, what: 'the voters are changed again before the last change is committed', needs: ['move'] },
];
