// One replica of a test cluster: the real core, and the plainest possible driver and disk around it.
//
// The disk is what survives a crash. Writes queue and are finished by hand (`persist`), one at a
// time and in order, so that a test decides what is durable when. Entries are objects; a range of
// them is an Append's body.
import { assert } from '../../../src/wire/assert.ts';
import type { Configuration, ConfigEntry } from '../../../src/raft/config.ts';
import type { AppendOp, Effects, LogOp, ReadState } from '../../../src/raft/effects.ts';
import { RaftNode } from '../../../src/raft/node.ts';
import type { RaftSettings } from '../../../src/raft/settings.ts';
import { MessageKind } from '../../../src/raft/types.ts';
import type { HardState, LogDescription, Message, Serving, TermRun } from '../../../src/raft/types.ts';
import type { Checkers } from './checkers.ts';

export interface Entry {
  readonly id: number;
  readonly term: number;
  readonly kind: 'proposal' | 'noop' | 'config';
  readonly size: number;
  readonly config: Configuration | null;
}

export interface Snapshot {
  readonly appliedIndex: number;
  /** Ids of the proposals applied so far. */
  readonly state: readonly number[];
}

/** What a crash leaves. Entries start behind `baseIndex`. */
export interface TestDisk {
  hard: { term: number; vote: number };
  baseIndex: number;
  baseTerm: number;
  entries: Entry[];
  configs: ConfigEntry[];
  commitMark: number;
  snapshot: Snapshot;
}

interface Write {
  readonly op: LogOp;
  readonly entries: readonly Entry[];
}

/** What the cluster gives a replica to work with. */
export interface World {
  readonly settings: RaftSettings;
  readonly checkers: Checkers;
  random(replica: Replica, bound: number): number;
  nextEntryId(): number;
  transmit(replica: Replica, message: Message): void;
  wantsCatchUp(replica: Replica, to: number): void;
  note(replica: Replica, effects: Effects): void;
}

export const CLUSTER_ID = 'c1';
export const LOG_UID = 'log1';

export class Replica {
  readonly id: number;
  readonly nodeId: string;
  disk: TestDisk;
  serving: Serving = 'ready';
  incarnation = 0;
  /** The log as the process sees it: the disk plus what is still to be written. */
  entries: Entry[] = [];
  baseIndex = 0;
  baseTerm = 0;
  /** Hard states being written, oldest first. */
  pendingHards: HardState[] = [];
  writes: Write[] = [];
  state: number[] = [];
  reads: ReadState[] = [];
  readsFailedTo = 0;
  entrySize = 100;
  private node: RaftNode | null = null;
  private readonly world: World;

  constructor(id: number, founding: Configuration | null, world: World) {
    this.id = id;
    this.nodeId = `n${id}`;
    this.world = world;
    this.disk = {
      hard: { term: 0, vote: 0 },
      baseIndex: 0,
      baseTerm: 0,
      entries: [],
      configs: founding ? [{ index: 0, config: founding }] : [],
      commitMark: 0,
      snapshot: { appliedIndex: 0, state: [] },
    };
  }

  get up(): boolean {
    return this.node !== null;
  }
  get lastIndex(): number {
    return this.baseIndex + this.entries.length;
  }
  get diskLastIndex(): number {
    return this.disk.baseIndex + this.disk.entries.length;
  }
  /** What the disk holds at `index` is what the process believes is there. */
  isOnDisk(index: number): boolean {
    if (index <= this.disk.baseIndex) return true;
    return this.disk.entries[index - this.disk.baseIndex - 1] === this.entryAt(index);
  }
  get diskLastTerm(): number {
    return this.disk.entries.at(-1)?.term ?? this.disk.baseTerm;
  }

  running(): RaftNode {
    assert(this.node !== null, `replica ${this.id} is down`);
    return this.node;
  }

  entryAt(index: number): Entry {
    const entry = this.entries[index - this.baseIndex - 1];
    assert(entry !== undefined, `replica ${this.id} has no entry ${index}`);
    return entry;
  }

  /** A new process on what the disk holds. */
  start(): void {
    assert(this.node === null, 'it was down');
    const { disk } = this;
    this.incarnation++;
    this.baseIndex = disk.baseIndex;
    this.baseTerm = disk.baseTerm;
    this.entries = [...disk.entries];
    this.state = [...disk.snapshot.state];
    this.pendingHards = [];
    this.writes = [];
    this.reads = [];
    this.readsFailedTo = 0;
    this.node = new RaftNode({
      identity: { clusterId: CLUSTER_ID, logUid: LOG_UID, nodeId: this.nodeId, replicaId: this.id },
      settings: this.world.settings,
      random: (bound) => this.world.random(this, bound),
      view: {
        termAt: (index) => (index === this.baseIndex ? this.baseTerm : this.entryAt(index).term),
        sizeOf: (from, to) => this.sizeOf(from, to),
      },
      hardState: { ...disk.hard },
      log: this.describe(disk.snapshot.appliedIndex, Math.max(disk.commitMark, disk.snapshot.appliedIndex)),
      serving: this.serving,
      incarnation: this.incarnation,
    });
    this.flush();
  }

  private sizeOf(from: number, to: number): number {
    // What this turn proposed is counted as a driver would, which has the bytes by then.
    let size = Math.max(0, to - Math.max(this.lastIndex, from - 1)) * this.entrySize;
    for (let i = from; i <= Math.min(to, this.lastIndex); i++) size += this.entryAt(i).size;
    return size;
  }

  /** The whole log in `entries`, as the core wants it told. */
  describe(appliedIndex: number, commitIndex: number): LogDescription {
    const runs: TermRun[] = [];
    const configs = this.disk.configs.filter((entry) => entry.index <= this.baseIndex).slice(-1);
    this.entries.forEach((entry, i) => {
      const index = this.baseIndex + 1 + i;
      if (runs.length === 0 || runs.at(-1)!.term !== entry.term) runs.push({ fromIndex: index, term: entry.term });
      if (entry.config) configs.push({ index, config: entry.config });
    });
    return {
      firstIndex: this.baseIndex + 1,
      baseTerm: this.baseTerm,
      lastIndex: this.lastIndex,
      runs,
      commitIndex,
      appliedIndex,
      configs,
    };
  }

  /** Process gone; of what was queued, the first so many reached the disk without anybody knowing. */
  crash(survivors = 0, hardSurvivors = 0): void {
    this.node = null;
    const hard = this.pendingHards[hardSurvivors - 1];
    if (hard) this.disk.hard = hardOf(hard);
    for (const write of this.writes.slice(0, survivors)) this.toDisk(write);
    this.writes = [];
    this.pendingHards = [];
  }

  /** Runs one input and everything that follows from it, save the completion of writes. */
  input<T>(give: (node: RaftNode) => T): T {
    const result = give(this.running());
    this.flush();
    return result;
  }

  propose(count: number): number {
    return this.input((node) => node.propose(count));
  }

  private flush(): void {
    const effects = this.running().flush();
    this.world.note(this, effects);
    if (effects.hardState) this.pendingHards.push(effects.hardState);
    for (const op of effects.log) this.take(op);
    for (const message of effects.messages) this.transmit(message);
    if (effects.committedTo >= effects.committedFrom) this.apply(effects.committedFrom, effects.committedTo);
    this.reads.push(...effects.reads);
    if (effects.readsFailedTo > 0) this.readsFailedTo = effects.readsFailedTo;
    if (effects.role) this.world.checkers.roleChanged(this);
    for (const { replicaId } of effects.catchUps) this.world.wantsCatchUp(this, replicaId);
  }

  private transmit(message: Message): void {
    this.world.checkers.sent(this, message);
    if (message.kind === MessageKind.Append && message.toIndex >= message.fromIndex) {
      const at = message.fromIndex - this.baseIndex - 1;
      message.body = this.entries.slice(at, at + message.toIndex - message.prevIndex);
    }
    this.world.transmit(this, message);
  }

  private take(op: LogOp): void {
    if (op.kind === 'truncate') {
      this.entries.length = op.afterIndex - this.baseIndex;
      this.writes.push({ op, entries: [] });
      return;
    }
    const entries = this.bytesOf(op);
    assert(op.from === this.lastIndex + 1 && entries.length === op.to - op.from + 1, 'ops follow each other');
    for (const entry of entries) {
      this.entries.push(entry);
      this.world.checkers.appended(this, this.lastIndex);
    }
    this.writes.push({ op, entries });
  }

  private bytesOf(op: AppendOp): Entry[] {
    const { source, from, to, term, config, message } = op;
    if (source === 'leader') {
      const body = message!.body as Entry[];
      return body.slice(from - message!.fromIndex, to - message!.fromIndex + 1);
    }
    const size = source === 'proposal' ? this.entrySize : 10;
    return Array.from({ length: to - from + 1 }, () => ({
      id: this.world.nextEntryId(),
      term,
      kind: source,
      size,
      config,
    }));
  }

  private apply(from: number, to: number): void {
    this.world.checkers.reported(this, from, to);
    for (let i = from; i <= to; i++) {
      const entry = this.entryAt(i);
      if (entry.kind === 'proposal') this.state.push(entry.id);
    }
    this.running().applied(to);
  }

  /** Finishes writes: all hard states, then up to `count` log operations. True if there was any. */
  persist(count = Infinity): boolean {
    let any = false;
    while (this.persistHard()) any = true;
    for (let i = 0; i < count && this.persistWrite(); i++) any = true;
    return any;
  }

  persistHard(): boolean {
    const hard = this.pendingHards.shift();
    if (hard === undefined) return false;
    this.disk.hard = hardOf(hard);
    this.input((node) => node.hardStatePersisted(hard.sequence));
    return true;
  }

  persistWrite(): boolean {
    const write = this.writes.shift();
    if (write === undefined) return false;
    this.toDisk(write);
    const { op } = write;
    if (op.kind === 'append') this.input((node) => node.persisted(op.to, op.term, op.generation));
    return true;
  }

  private toDisk({ op, entries }: Write): void {
    const { disk } = this;
    if (op.kind === 'truncate') {
      disk.entries.length = op.afterIndex - disk.baseIndex;
      return;
    }
    assert(op.from === this.diskLastIndex + 1, 'the disk sees operations in order');
    disk.entries.push(...entries);
    // Like the durable mark, written together with a group: what was known to be committed then.
    if (this.node) disk.commitMark = Math.max(disk.commitMark, this.node.reportedIndex);
  }

  /** Snapshot of all that is applied; entries before `firstIndex` go. */
  compact(firstIndex: number): void {
    const node = this.running();
    const { disk } = this;
    disk.snapshot = { appliedIndex: node.appliedIndex, state: [...this.state] };
    disk.configs = [...node.configHistory].filter((entry) => entry.index <= node.appliedIndex);
    const drop = firstIndex - 1 - this.baseIndex;
    assert(drop >= 0, 'a log is compacted forwards');
    const baseTerm = node.termAt(firstIndex - 1);
    this.input(() => node.logTrimmed(firstIndex));
    this.entries.splice(0, drop);
    disk.entries.splice(0, drop);
    this.baseIndex = disk.baseIndex = firstIndex - 1;
    this.baseTerm = disk.baseTerm = baseTerm;
  }

  /** What a catch-up carries: state, entries and configurations up to a commit index. */
  capture(): CatchUpImage {
    const node = this.running();
    const commitIndex = node.reportedIndex;
    return {
      snapshot: { appliedIndex: node.appliedIndex, state: [...this.state] },
      commitIndex,
      baseIndex: this.baseIndex,
      baseTerm: this.baseTerm,
      entries: this.entries.slice(0, commitIndex - this.baseIndex),
      configs: node.configHistory.filter((entry) => entry.index <= commitIndex),
    };
  }

  /** Installs it, carrying over the own tail where it agrees (Raft §7). False when it is too old. */
  install(image: CatchUpImage): boolean {
    const node = this.running();
    if (image.commitIndex <= node.commitIndex) return false;
    const last = image.entries.at(-1)?.term ?? image.baseTerm;
    const agrees = node.lastIndex > image.commitIndex && node.termAt(image.commitIndex) === last;
    const tail = agrees ? this.entries.slice(image.commitIndex - this.baseIndex) : [];
    this.writes = [];
    this.baseIndex = image.baseIndex;
    this.baseTerm = image.baseTerm;
    this.entries = [...image.entries, ...tail];
    this.state = [...image.snapshot.state];
    Object.assign(this.disk, {
      baseIndex: image.baseIndex,
      baseTerm: image.baseTerm,
      entries: [...this.entries],
      configs: [...image.configs],
      snapshot: image.snapshot,
      commitMark: image.commitIndex,
    });
    const installed = this.describe(image.snapshot.appliedIndex, image.commitIndex);
    this.input(() => node.snapshotInstalled(installed));
    return true;
  }
}

export interface CatchUpImage {
  readonly snapshot: Snapshot;
  readonly commitIndex: number;
  readonly baseIndex: number;
  readonly baseTerm: number;
  readonly entries: readonly Entry[];
  readonly configs: readonly ConfigEntry[];
}

function hardOf(hard: HardState): { term: number; vote: number } {
  return { term: hard.term, vote: hard.vote };
}
