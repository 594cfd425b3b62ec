// Seeds that once found a bug, each with the bug: `npm run sim -- --kept`, in CI. What a seed means
// changes with the simulator, so a bug that can be shown by a small test has one of its own besides.

export interface KeptSeed {
  readonly seed: number;
  readonly nodes: 1 | 3 | 5;
  readonly found: string;
}

export const KEPT_SEEDS: readonly KeptSeed[] = [
  { seed: 14, nodes: 1, found: 'a log that syncs late deleted records before the trim was synced' },
  { seed: 1192, nodes: 1, found: 'the same, by age' },
  { seed: 1121, nodes: 1, found: 'an app went on for ever with batches behind those that a power cut had taken from a log in memory' },
  { seed: 1168, nodes: 1, found: 'the same' },
  { seed: 1228, nodes: 1, found: 'the same, several apps of one name' },
  { seed: 20157, nodes: 1, found: 'a log whose creation had failed came back in the place of one made since' },
  { seed: 20299, nodes: 1, found: 'a log whose log.json could not be read was answered LOG_NOT_FOUND' },
  { seed: 20367, nodes: 1, found: 'the same, of two logs' },
  { seed: 4, nodes: 3, found: 'entries that came in the turn of a full disk were appended behind a gap' },
  { seed: 11, nodes: 3, found: 'a follower that was behind refused offsets that its client had been given' },
  { seed: 69, nodes: 3, found: 'what a former leader had not written was counted as memory for ever' },
  { seed: 6032, nodes: 3, found: 'a leader that was stopped together with the others waited for ever for their acks' },
  { seed: 6051, nodes: 3, found: 'a copy of raft-state whose sync had failed was not stored again at a start' },
  { seed: 6127, nodes: 3, found: 'a subscription looked for its next record in a segment that was deleted' },
  { seed: 40, nodes: 3, found: 'damage of the first entry, and of all that raft-state knew of a replica' },
  { seed: 166, nodes: 3, found: 'a position was proposed in the turn in which its leader had begun to hand over' },
  { seed: 70016, nodes: 3, found: 'after raft-state and the folder of a log were lost no new replica could be made' },
  { seed: 115, nodes: 3, found: 'a founder that had lost its marks and its first entry could not be opened' },
  { seed: 71096, nodes: 5, found: 'a second replica of a log could not go to the trash while the first lay there' },
  { seed: 80430, nodes: 3, found: 'a newest segment with a damaged first batch could not be opened with what came behind its mark' },
  { seed: 81158, nodes: 1, found: 'snapshots that the disk did not give for a moment were put aside, and what was trimmed was forgotten' },
  { seed: 91245, nodes: 1, found: 'a segment of a log in memory was not on disk although the next one was' },
  { seed: 80378, nodes: 3, found: 'a start in a moment of failing reads took all of raft-state for lost' },
  { seed: 68, nodes: 3, found: 'a replica that was given up before its first segment was made never opened to say so' },
  { seed: 500161, nodes: 3, found: 'a trimmed replica without a whole snapshot never opened to be brought on anew' },
  { seed: 400622, nodes: 1, found: 'positions were told from a state that ends before damage' },
  { seed: 1000569, nodes: 5, found: 'an index that was built around damage was believed after the damage was mended' },
  { seed: 1001868, nodes: 3, found: 'a snapshot that was being opened for a peer was closed twice' },
  { seed: 1003359, nodes: 5, found: 'a log whose truncation had failed was cut short when it was closed' },
  { seed: 1020213, nodes: 3, found: 'a start on a full disk believed terms that were in the page cache only' },
  { seed: 1030696, nodes: 3, found: 'a restart took trimmed files for lost ones' },
  { seed: 1041106, nodes: 3, found: 'a truncation inside of a damaged stretch was made by guess' },
  { seed: 1050939, nodes: 5, found: 'a subscription that began behind what was committed ran in circles' },
  { seed: 1600933, nodes: 3, found: 'a read from disk found its log closed, and its newest segment with it' },
  { seed: 801068, nodes: 3, found: 'a leader that could not read its tail for a moment, and found no heir, never took its office' },
];
