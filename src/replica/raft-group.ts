// One log's Raft group on this node: the driver with the segment log and the raft-state journal below it
// and the replica above it. It decides when the replica leads, and says why it takes no requests; what the
// replica is shown of its log comes from the feed.
//
// Invariants: I2 every start of a lone voter raises the term, synced before the first ack (core); I6 what is
// applied is committed and on this disk; `refusal` is 0 only while the core takes proposals, the log takes
// appends and the replica has seen its whole tail; after a full disk nothing is answered STORAGE_FULL
// before the cut of what is refused is synced.
import type { ConfigChange } from '../raft/config.ts';
import type { ChangeRefusal } from '../raft/config-change.ts';
import { RaftDriver } from '../raft/driver/driver.ts';
import type { DriverSink } from '../raft/driver/ports.ts';
import type { CatchUp, Fault, IdleChange, RoleChange } from '../raft/effects.ts';
import type { TransferRefusal } from '../raft/transfer.ts';
import { NOBODY, type Index, type ReplicaId, type Term } from '../raft/types.ts';
import { isDiskFull, type DiskError } from '../index/disk.ts';
import { Latch } from '../segment/latch.ts';
import type { SegmentedLog } from '../segment/log.ts';
import { LogState, type LogEvents } from '../segment/log-options.ts';
import { assert } from '../wire/assert.ts';
import { ErrorCode } from '../wire/errors.ts';
import { CatchUpPeer } from './catch-up/catch-up.ts';
import type { Group, GroupEvents } from './group.ts';
import { catchUpPeer } from './raft-catch-up.ts';
import { FullDisk } from './raft-disk-full.ts';
import { RaftFeed } from './raft-feed.ts';
import { RaftLogPort } from './raft-log-port.ts';
import { RaftReads } from './raft-reads.ts';
import type { RaftGroupOptions } from './raft-group-options.ts';
import { OPEN, refusalOf } from './raft-refusal.ts';
import { TermStore } from './raft-term-store.ts';
import { noteIdle, noteSleep } from './raft-watch.ts';

export class RaftGroup implements Group, DriverSink, LogEvents {
  term: Term = 0;
  refusal: ErrorCode | 0 = ErrorCode.NO_LEADER;
  refusalMessage = 'the log is being opened';
  commitIndex: Index;
  copies = 1;
  readonly driver: RaftDriver;

  readonly #options: RaftGroupOptions;
  readonly #log: SegmentedLog;
  readonly #port: RaftLogPort;
  readonly #reads = new RaftReads();
  readonly #feed: RaftFeed;
  /** The core leads; the replica may not know yet. */
  #elected = false;
  /** The replica leads. */
  #inOffice = false;
  /** Why this replica makes nothing durable any more; '' = it does. */
  #stopped: string;
  readonly #terms: TermStore;
  readonly #full = new FullDisk();
  readonly #catchUp: CatchUpPeer;
  #lastTickMs = -1;
  #closed = false;
  readonly #settled = new Latch();
  readonly #opened = new Latch();

  private constructor(options: RaftGroupOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#stopped = options.stopped;
    this.commitIndex = options.raft.log.appliedIndex;
    this.term = Math.max(options.raft.hardState.term, options.log.lastTerm);
    this.#port = new RaftLogPort(options.log, options.nowMs, {
      ready: () => {
        this.driver.logReady();
        this.#goOn();
      },
      // The no-op that opens a term comes before the replica leads in it, and is part of the tail.
      ownEntry: () => {
        if (this.#inOffice) this.#feed.showOwnEntry();
      },
      damagedAtCut: () => this.#catchUp.wantAll(),
      truncationFailed: (error) => this.#fail(`a truncation could not be made (${error.message})`),
    });
    this.#feed = new RaftFeed(options.log, this.#port, this.commitIndex, (read) => {
      if (read) this.#goOn();
      else this.#cannotRead();
    });
    // Damage keeps the state from following; what is there can be read all the same.
    this.#feed.ended = options.stopped !== '' || options.garbled;
    const { transport, defer, journal, logUid, raft } = options;
    this.#terms = new TermStore(journal, logUid, raft.identity.replicaId);
    this.driver = new RaftDriver(raft, { log: this.#port, hardState: this.#terms, transport, sink: this, defer });
    this.#catchUp = catchUpPeer(options, this.driver, this.#port);
    options.log.events = this;
    options.watch.join(raft.identity.logUid, this.driver);
    this.#say();
  }

  /**
   * Starts the group. A lone voter then leads (in a term of its own, on disk), or a full disk keeps it
   * from that. Rejects with DiskError when its term cannot be stored.
   */
  static async open(options: RaftGroupOptions): Promise<RaftGroup> {
    const group = new RaftGroup(options);
    const { driver } = group;
    // Peers may ask for any entry that is here, and the core cannot wait for an answer.
    if (!driver.alone) group.#port.knowTerms(options.raft.log.runs, options.raft.log.commitIndex);
    const alone = driver.soleVoter && group.#stopped === '';
    const stored = alone ? group.#opened.wait() : null;
    driver.start();
    await stored;
    if (group.#terms.error !== null) throw group.#terms.error;
    return group;
  }

  get events(): GroupEvents | null {
    return this.#feed.events;
  }

  set events(events: GroupEvents | null) {
    this.#feed.events = events;
  }

  /** The replica has taken its place: it is told what has happened since the start. */
  begin(): void {
    this.#goOn();
  }

  /** Hands leadership over, if there is somebody; then nothing more is done or told. The log is closed by whoever opened it. */
  close(): Promise<unknown> {
    if (this.#closed) return this.#terms.settled;
    if (this.#inOffice && !this.driver.soleVoter) this.driver.transferLeadership(NOBODY);
    this.#closed = true;
    this.#feed.ended = true;
    this.#catchUp.close();
    this.#options.watch.forget(this.#options.raft.identity.logUid);
    this.driver.close();
    this.#say();
    this.#wake();
    return this.#terms.settled;
  }

  get lastIndex(): Index {
    return this.#log.lastIndex;
  }

  get alone(): boolean {
    return this.driver.alone;
  }

  get confirmedTicket(): number {
    return this.#reads.confirmed;
  }

  // What the replica asks

  propose(source: Buffer, start: number, end: number, appendTime: number): Index {
    assert(this.refusal === 0, 'only a leader proposes');
    // The log writes at the end of the turn, or with the group after the one in flight.
    const index = this.#log.append(source, start, end, this.term, appendTime);
    this.driver.proposed();
    return index;
  }

  requestRead(): number {
    // Nobody else has a newer truth than a lone voter, and all that it has acked is applied.
    if (this.driver.soleVoter && !this.#reads.undecided) return this.#reads.takeConfirmed();
    const sequence = this.driver.requestRead();
    return sequence === 0 ? 0 : this.#reads.take(sequence);
  }

  settled(): Promise<void> {
    this.#log.flush();
    if (this.#decided) return Promise.resolve();
    return this.#settled.wait();
  }

  retry(): void {
    this.driver.retry();
    this.#campaignAlone();
  }

  tick(nowMs: number, waitingReaders: boolean): void {
    const elapsedMs = this.#lastTickMs < 0 ? 0 : nowMs - this.#lastTickMs;
    this.#lastTickMs = nowMs;
    if (this.driver.alone) return;
    this.driver.setWaitingReaders(waitingReaders);
    this.#catchUp.tick(nowMs);
    this.driver.setDamaged(this.#catchUp.damaged);
    this.driver.tick(elapsedMs);
    if (this.#feed.readsAgain(nowMs)) this.#goOn();
  }

  trimmed(): void {
    this.driver.logTrimmed(this.#log.firstIndex);
  }

  /** The state and the log disagree: this replica must not answer for either. */
  broken(reason: string): void {
    this.#fail(reason, true);
  }

  get neededFromIndex(): Index {
    let index = this.#catchUp.neededFromIndex;
    // Whoever is dead comes back by a snapshot; for the living that would be a detour.
    for (const peer of this.driver.node.peers) if (peer.alive) index = Math.min(index, peer.match + 1);
    return index;
  }

  // What the cluster asks

  /** A message of a peer; the buffer is kept until its entries are in the log. */
  receive(message: Buffer): void {
    if (this.#closed) return;
    if (CatchUpPeer.takes(message)) this.#catchUp.receive(message);
    else this.driver.receive(message);
  }

  /** The new configuration's index, or why there is none. Rejects with DiskError or DamageError. */
  async changeConfig(basedOn: Index, change: ConfigChange): Promise<Index | ChangeRefusal> {
    if (!this.#inOffice) return 'not_leader';
    // A lone voter may never have been asked for the terms of old entries.
    if (this.driver.alone) await this.#port.loadTerms(this.commitIndex);
    if (!this.#inOffice) return 'not_leader';
    return this.driver.changeConfig(basedOn, change);
  }

  transferLeadership(target: ReplicaId): TransferRefusal | null {
    return this.#inOffice ? this.driver.transferLeadership(target) : 'not_leader';
  }

  // Events of the log

  durable(index: Index, term: Term, generation: number): void {
    this.driver.logDurable(index, term, generation);
    this.events?.written();
  }

  failed(error: DiskError): void {
    if (!isDiskFull(error)) return this.#fail(`a write to disk failed (${error.code}); check the disk and restart sidelog`);
    this.#full.begin(this.#inOffice, this.driver.sentIndex);
    this.#full.termWasVain = this.#elected && this.#log.lastTerm < this.driver.term;
    this.driver.logCut();
    this.#options.diskFull();
    this.#wake();
  }

  /** The cut is synced: what was refused can never come back. */
  resumed(): void {
    this.#full.settle(this.events, this.#log.lastIndex, this.commitIndex);
    this.driver.logReady();
    if (!this.#full.termWasVain) this.#campaignAlone();
    this.#goOn();
  }

  /** Entries that are to be applied, or shown, cannot be read. */
  #cannotRead(): void {
    if (this.driver.alone) return this.#fail('committed entries cannot be read from disk');
    // Whoever cannot show its tail cannot lead.
    if (this.#elected && !this.#inOffice) this.driver.transferLeadership(NOBODY);
  }

  #fail(reason: string, broken = false): void {
    if (this.#stopped === '') this.#stopped = reason;
    this.#feed.ended ||= broken;
    this.#say();
    this.driver.stop();
    this.#full.abandon(this.events, this.commitIndex);
    this.#wake();
  }

  /** A lone voter waits for no timer: it leads again as soon as it can. */
  #campaignAlone(): void {
    const { driver } = this;
    if (driver.soleVoter && !this.#elected && this.#stopped === '' && this.#log.acceptsAppends) driver.campaign();
  }

  // What the driver tells

  changed(): void {
    if (this.#open !== (this.refusal === 0)) this.#say();
    // It may have taken none when the election was told, or when the tail had been read: on its way to nobody.
    if (this.#elected && !this.#inOffice && this.driver.accepting) this.#goOn();
  }

  committed(to: Index): void {
    this.commitIndex = to;
    this.#log.commitIndex = to;
    this.copies = this.driver.node.copies;
    this.#goOn();
    this.#wake();
  }

  readsConfirmed(sequence: number, index: Index): void {
    this.#reads.settle(sequence, index);
    this.#goOn();
  }

  readsFailed(sequence: number): void {
    this.#reads.fail(sequence);
    this.events?.lost(Infinity, ErrorCode.NOT_LEADER);
  }

  roleChanged(change: RoleChange): void {
    if (this.#inOffice && (change.role !== 'leader' || change.term !== this.term)) this.#resign();
    this.#elected = change.role === 'leader';
    if (!this.#inOffice) this.term = change.term;
    this.#say();
    this.#goOn();
    this.#hasOpened();
    this.#wake();
  }

  configChanged(): void {
    this.copies = this.driver.node.copies;
  }

  catchUpWanted(wanted: CatchUp): void {
    this.#catchUp.begin(wanted);
  }

  idleChanged(change: IdleChange): void {
    noteIdle(this.#options.watch, this.driver, this.#options.raft.identity, change);
  }

  sleepChanged(asleep: boolean): void {
    noteSleep(this.#options.watch, this.driver, this.#options.raft.identity, asleep);
  }

  faulted(fault: Fault): void {
    this.#options.report('replica lost', fault);
    this.#fail('this replica has lost entries that it had acknowledged: it must come back under another replica id');
  }

  notStored(full: boolean): void {
    if (full) {
      this.#full.noted = true;
      this.#options.diskFull();
    } else {
      this.#stopped ||= `its new term could not be stored (${this.#terms.error?.code}); check the disk and restart sidelog`;
    }
    this.#say();
    this.#hasOpened();
  }

  #hasOpened(): void {
    if (this.#elected || this.#full.noted || this.#stopped !== '') this.#opened.release();
  }

  // Applying and leading

  /** Applies what is committed, then leads if this replica was elected; as far as memory reaches, now. */
  #goOn(): void {
    const feed = this.#feed;
    if (feed.events === null || feed.ended) return;
    if (this.#inOffice) {
      feed.commit(this.commitIndex);
    } else {
      if (!feed.apply(this.commitIndex)) return;
      if (this.#elected && this.driver.accepting && feed.showTail()) this.#lead(feed.events);
    }
    this.driver.applied(feed.applied);
    if (this.#reads.applied(feed.applied)) feed.events.confirmed(this.#reads.confirmed);
  }

  #lead(events: GroupEvents): void {
    this.term = this.driver.term;
    this.#inOffice = true;
    this.#full.noted = false;
    this.#say();
    events.leading(this.term);
  }

  #resign(): void {
    this.#inOffice = false;
    this.#elected = false;
    this.#catchUp.resigned();
    this.#say();
    const { events } = this;
    if (events === null) return;
    events.steppedDown();
    // After a full disk the outcome is known when the cut is synced.
    if (!this.#full.cutting) events.lost(this.commitIndex + 1, ErrorCode.LEADERSHIP_LOST);
  }

  /** Says how requests that need the leader are answered from now on. */
  #say(): void {
    const { code, message } = this.#open ? OPEN : refusalOf(this.driver, this.#stopped, this.#full.noted);
    this.refusal = code;
    this.refusalMessage = message;
  }

  /** Requests that need the leader are taken. */
  get #open(): boolean {
    return this.#inOffice && this.driver.accepting && this.driver.term === this.term;
  }

  get #decided(): boolean {
    return this.#closed || !this.#elected || this.commitIndex === this.#log.lastIndex || this.#log.state === LogState.FAILED;
  }

  #wake(): void {
    if (this.#settled.isAwaited && this.#decided) this.#settled.release();
  }
}
