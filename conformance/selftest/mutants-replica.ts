// Faults of logs, producers, positions, reads and of what survives (src/replica, src/segment).
import type { Patch } from './server-mutants.ts';

const JUDGE = 'src/replica/judge.ts';
const LOG = 'src/replica/log-replica.ts';
const WRITES = 'src/replica/log-writes.ts';
const WAITS = 'src/replica/waits.ts';
const STREAM = 'src/replica/subscriptions.ts';
const START = 'src/replica/read-start.ts';
const SETTINGS = 'src/replica/log-settings.ts';
const GROUP = 'src/replica/raft-group.ts';
const READERS = 'src/replica/log-readers.ts';

const emptyTable = (table: string, limits: string): string => `Object.assign(scan.rebuild.state, { ${table}: new scan.rebuild.state.${table}.constructor(${limits}) });`;

export const replicaMutants: readonly Patch[] = [
  { faults: {
    'expected-before-dedupe': 'expected_offset is judged before duplicates', 'fence-before-dedupe': 'the fence is judged before duplicates',
    'fence-before-seq': 'the fence is judged before the sequence', 'full-before-duplicate': 'want of room is judged before duplicates',
    'seq-without-producer': 'seq is judged without a producer' }, file: JUDGE,
    find: 'if (batch.producerId(buffer, position) !== 0) {',
    replace: "if (MUT('expected-before-dedupe') && expectedOffset !== NONE && expectedOffset !== view.nextOffset) return refuse(view, verdict, ErrorCode.OFFSET_MISMATCH, view.nextOffset);\n"
      + "  if ((MUT('fence-before-dedupe') || MUT('fence-before-seq')) && fence !== view.fence) return refuse(view, verdict, ErrorCode.FENCED, view.fence);\n"
      + "  if (MUT('full-before-duplicate') && !hasRoom) return refuseFull(verdict);\n"
      + "  if (batch.producerId(buffer, position) !== 0 || (MUT('seq-without-producer') && batch.producerSeq(buffer, position) !== 0)) {" },
  { faults: { 'unfenced-writers-pass': 'a writer without a fence is let in' }, file: JUDGE,
    find: 'if (fence !== view.fence && ', replace: "if (fence !== view.fence && !(MUT('unfenced-writers-pass') && fence === 0) && " },
  { faults: { 'expected-ignored': 'expected_offset is ignored', 'expected-vs-committed': 'expected_offset is compared with what is committed' }, file: JUDGE,
    find: 'if (expectedOffset !== NONE && expectedOffset !== view.nextOffset) {',
    replace: "if (expectedOffset !== NONE && !MUT('expected-ignored') && expectedOffset !== (MUT('expected-vs-committed') ? view.state.nextOffset : view.nextOffset)) {" },
  { faults: { 'accept-lower-fence': 'a lower token is accepted' }, file: JUDGE,
    find: 'if (token < view.fence) return', replace: "if (token < view.fence && !MUT('accept-lower-fence')) return" },
  { faults: { 'missing-position-none': 'a position that does not exist compares as nothing' }, file: JUDGE,
    find: 'const compared = current === NONE ? 0 : current;', replace: "const compared = current === NONE && !MUT('missing-position-none') ? 0 : current;" },
  { faults: { 'position-judged-committed': 'positions are compared with what is committed' }, file: JUDGE,
    find: 'const current = positions.get(name);', replace: "const current = MUT('position-judged-committed') ? view.state.positions.get(name)?.offset ?? NONE : positions.get(name);" },
  { faults: {
    'position-monotonic': 'a position never goes back', 'position-in-range': 'a position must lie in the log', 'delete-missing-fails': 'deleting what is not there fails',
    'positions-max-1000': 'a thousand positions are the limit' }, file: JUDGE,
    find: 'const limit = view.state.limits.positionsMax;',
    replace: "if (MUT('position-monotonic') && current !== NONE && offset !== NONE && offset < current) return refuseStaged(view, verdict, ErrorCode.POSITION_MISMATCH, current);\n"
      + "  if (MUT('position-in-range') && offset > view.nextOffset) return refuseStaged(view, verdict, ErrorCode.POSITION_MISMATCH, 0);\n"
      + "  if (MUT('delete-missing-fails') && offset === NONE && current === NONE) return refuseStaged(view, verdict, ErrorCode.POSITION_NOT_FOUND, 0);\n"
      + "  const limit = MUT('positions-max-1000') ? 1_000 : view.state.limits.positionsMax;" },
  { faults: { 'dedupe-by-seq-only': 'a duplicate is recognized by seq alone, whoever sent it' }, file: JUDGE,
    find: 'const producer = view.producers.find(batch.producerId(buffer, position));',
    replace: "const producer = (MUT('dedupe-by-seq-only') ? view.producers.findByName('a') : null) ?? view.producers.find(batch.producerId(buffer, position));" },
  { faults: { 'epoch-before-duplicate': 'the epoch is judged before duplicates' }, file: JUDGE,
    find: '  if (seq < next) {', replace: "  if (MUT('epoch-before-duplicate') && epoch !== producer.epoch) return refuse(view, verdict, ErrorCode.PRODUCER_FENCED, 0);\n  if (seq < next) {" },
  { faults: { 'accept-old-epoch': 'a batch of another epoch is taken', 'zombie-below-window': 'a zombie is acked for what has left the window' }, file: JUDGE,
    find: 'if (epoch !== producer.epoch) return',
    replace: "if (MUT('zombie-below-window') && seq < next - view.state.limits.window) { duplicate(verdict, 0, NONE, NONE, 0); return Judgment.DUPLICATE; }\n  if (MUT('accept-old-epoch') && epoch !== producer.epoch) { duplicate(verdict, 0, 0, 1, 0); return Judgment.DUPLICATE; }\n  if (epoch !== producer.epoch) return" },
  { faults: { 'gap-accepted': 'a gap in the sequence is acked' }, file: JUDGE,
    find: 'if (seq > next) return', replace: "if (seq > next && !MUT('gap-accepted')) return" },
  { faults: { 'no-dedupe': 'duplicates are not looked for', 'window-forgets-early': 'the window is smaller than announced' }, file: JUDGE,
    find: 'if (seq < next - view.state.limits.window) return', replace: "if (MUT('no-dedupe') || seq < next - view.state.limits.window + (MUT('window-forgets-early') ? 10 : 0)) return" },
  { faults: { 'dedupe-ignores-crc': 'a batch with a known seq is a duplicate whatever is in it' }, file: JUDGE,
    find: 'if (window.bodyCrc(seq) !== bodyCrc) return', replace: "if (window.bodyCrc(seq) !== bodyCrc && !MUT('dedupe-ignores-crc')) return" },
  { faults: { 'duplicate-new-time': 'a duplicate is answered with another time' }, file: JUDGE,
    find: 'duplicate(verdict, 0, base, base + window.count(seq), window.appendTime(seq));', replace: "duplicate(verdict, 0, base, base + window.count(seq), window.appendTime(seq) + (MUT('duplicate-new-time') ? 1 : 0));" },
  { faults: { 'duplicate-before-commit': 'a duplicate is acked before its original is committed' }, file: LOG,
    find: '#duplicate(session: Session, id: number, deadlineMs: number, uid: Buffer | null): void {\n    const { verdict } = this;',
    replace: "#duplicate(session: Session, id: number, deadlineMs: number, uid: Buffer | null): void {\n    const { verdict } = this;\n"
      + "    if (MUT('duplicate-before-commit')) return session.produceAck(id, verdict.baseOffset, verdict.nextOffset, verdict.appendTime, this.group.term, 1, 1, PRODUCE_DUPLICATE, uid);" },
  { faults: { 'refusal-before-commit': 'a refusal does not wait for what it was judged against' }, file: LOG,
    find: 'refuse(session: Session, id: number, op: Op, deadlineMs: number, code: number): void {\n    const { verdict } = this;',
    replace: "refuse(session: Session, id: number, op: Op, deadlineMs: number, code: number): void {\n    const { verdict } = this;\n"
      + "    if (MUT('refusal-before-commit')) return session.error(id, op, code as ErrorCode, { nextOffset: verdict.detail });" },
  { faults: { 'epoch-stays': 'the epoch is not raised', 'epoch-wraps': 'the epoch after 65,535 is 0', 'seq-restarts': 'seq begins at 0 in every epoch' }, file: 'src/replica/producers.ts',
    find: '  if (current.epoch === EPOCH_MAX) return',
    replace: "  if (MUT('epoch-wraps') && current.epoch === EPOCH_MAX) return { id: current.id, epoch: 0, nextSeq: current.nextSeq };\n"
      + "  if (MUT('epoch-stays')) return { id: current.id, epoch: current.epoch, nextSeq: current.nextSeq };\n"
      + "  if (MUT('seq-restarts')) return { id: freshId, epoch: current.epoch + 1, nextSeq: 0 };\n  if (current.epoch === EPOCH_MAX) return" },
  { faults: { 'producers-max-1000': 'a thousand producers are the limit' }, file: 'src/replica/state.ts',
    find: 'producersMax: PRODUCERS_MAX,', replace: "producersMax: MUT('producers-max-1000') ? 1_000 : PRODUCERS_MAX," },
  { faults: { 'producer-ids-counted': 'producer ids are counted, not drawn' }, file: WRITES,
    find: 'const bytes = randomBytes(8);', replace: "const bytes = randomBytes(8);\n    if (MUT('producer-ids-counted')) { globalThis.counted = (globalThis.counted ?? 0) + 1; bytes.fill(0); bytes.writeUInt32BE(globalThis.counted, 4); }" },
  { faults: { 'fence-before-commit': 'FENCE and PUT_POSITION are answered before they are committed' }, file: WRITES,
    find: 'const waitIndex = index === 0 ? log.verdict.waitIndex : index;', replace: "const waitIndex = MUT('fence-before-commit') ? 0 : index === 0 ? log.verdict.waitIndex : index;" },
  { faults: { 'fence-before-commit': 'FENCE and PUT_POSITION are answered before they are committed' }, file: WRITES,
    find: 'if (index === 0) log.releaseReady();', replace: "if (index === 0 || MUT('fence-before-commit')) log.releaseReady();" },
  { faults: { 'trim-exact': 'TRIM does not round to a batch border' }, file: WRITES,
    find: 'return log.log.offsetAtIndex(indexToRead(log.log, offset));', replace: "return MUT('trim-exact') ? offset : log.log.offsetAtIndex(indexToRead(log.log, offset));" },

  { faults: { 'no-forward-refused': 'PRODUCE with NO_FORWARD is refused by the leader' }, file: LOG,
    find: 'const uid = view.hasUid ? null : this.uid;', replace: "if (MUT('no-forward-refused') && view.flags !== 0) return this.keepPlace(session, id, deadlineMs, ErrorCode.NOT_LEADER, 0, null);\n    const uid = view.hasUid ? null : this.uid;" },
  { faults: { 'store-half': 'a batch whose records are wrong is stored and refused' }, file: LOG,
    find: 'if (fault !== 0) return this.keepPlace(', replace: "if (MUT('store-half') && fault === ErrorCode.CORRUPT_BATCH && end - start > 80) this.append(buffer, start, end, Math.max(this.log.lastAppendTime, context.clock.nowMs()), end - start);\n    if (fault !== 0) return this.keepPlace(" },
  { faults: { 'append-time-is-clock': 'append_time follows the clock back' }, file: LOG,
    find: 'const appendTime = Math.max(this.log.lastAppendTime, context.clock.nowMs());', replace: "const appendTime = Math.max(MUT('append-time-is-clock') ? 0 : this.log.lastAppendTime, context.clock.nowMs());" },
  { faults: { 'rewrite-body': 'the body is changed and its checksum made right' }, file: LOG,
    find: 'const index = this.append(buffer, start, end, appendTime, size);',
    replace: "if (MUT('rewrite-body')) { buffer[end - 1]! ^= 1; buffer.writeUInt32BE(require('node:zlib').crc32(buffer.subarray(start + 44, end)), start + 40); }\n    const index = this.append(buffer, start, end, appendTime, size);" },
  { faults: { 'delete-keeps-waits': 'waits of a deleted log are kept' }, file: LOG,
    find: 'this.readers.end(readCode);', replace: "if (!MUT('delete-keeps-waits')) this.readers.end(readCode);" },
  { faults: { 'no-produce-timeout': 'a PRODUCE whose time is over gets no answer', 'no-admin-timeout': 'a FENCE whose time is over gets no answer' }, file: LOG,
    find: 'expireWrite(this, ring, slot);', replace: "if (!MUT('no-produce-timeout') && !MUT('no-admin-timeout')) expireWrite(this, ring, slot);" },
  { faults: { 'produce-timeout-overtakes': "a PRODUCE's time may end before that of the one before it" }, file: 'src/replica/log-use.ts',
    find: 'this.lastDeadlineMs = Math.max(this.lastDeadlineMs, nowMs + wait);', replace: "this.lastDeadlineMs = Math.max(MUT('produce-timeout-overtakes') ? 0 : this.lastDeadlineMs, nowMs + wait);" },

  { faults: { 'after-ends-wait': '`after` reached is enough: min_bytes does not count any more' }, file: WAITS,
    find: 'return this.#final ? this.fail(ErrorCode.BEHIND) : this.#wait(1);',
    replace: "if (MUT('after-ends-wait')) this.#bytesMin = 1;\n      return this.#final ? this.fail(ErrorCode.BEHIND) : this.#wait(1);" },
  { faults: { 'range-before-after': 'the range is judged before `after`' }, file: WAITS,
    find: 'if (log.readRefusal !== 0) return this.fail(log.readRefusal);',
    replace: "if (log.readRefusal !== 0) return this.fail(log.readRefusal);\n    if (MUT('range-before-after') && this.#spec.from === From.OFFSET && this.#spec.value > log.committedEnd) return this.fail(ErrorCode.OFFSET_OUT_OF_RANGE);" },
  { faults: { 'after-ignored': '`after` is ignored' }, file: WAITS,
    find: 'if (this.#spec.after > log.committedEnd) {', replace: "if (this.#spec.after > log.committedEnd && !MUT('after-ignored')) {" },
  { faults: { 'after-ignored': '`after` is ignored' }, file: STREAM,
    find: 'if (this.#spec.after > log.committedEnd) return', replace: "if (this.#spec.after > log.committedEnd && !MUT('after-ignored')) return" },
  { faults: { 'waits-always': 'a FETCH waits although there is enough' }, file: WAITS,
    find: 'if (atEnd && run.bytes < this.#bytesMin && !this.#final', replace: "if ((MUT('waits-always') ? !this.#waitCounted : atEnd && run.bytes < this.#bytesMin) && !this.#final" },
  { faults: { 'fetch-exceeds-frame': "an answer may exceed the client's max_frame" }, file: WAITS,
    find: 'FETCH_BYTES_MAX, client.session.peerMaxFrame - READ_OVERHEAD_SIZE);', replace: "FETCH_BYTES_MAX, MUT('fetch-exceeds-frame') ? Infinity : client.session.peerMaxFrame - READ_OVERHEAD_SIZE);" },
  { faults: { 'max-bytes-exact': 'a batch larger than max_bytes is never sent' }, file: WAITS,
    find: '    this.#answer(run);\n', replace: "    this.#answer(MUT('max-bytes-exact') && run.bytes > this.#bytesMax ? null : run);\n" },
  { faults: { 'timeout-signed': 'a max_wait_ms above 2^31 − 1 is a negative number' }, file: WAITS,
    find: 'Math.min(request.maxWaitMs, TIMEOUT_MS_MAX)', replace: "(MUT('timeout-signed') ? request.maxWaitMs | 0 : Math.min(request.maxWaitMs, TIMEOUT_MS_MAX))" },
  { faults: { 'end-is-out-of-range': 'a read at the end is out of range', 'past-end-waits': 'a read above the end is taken for one at the end' }, file: START,
    find: 'if (offset < log.logStart || offset > log.committedEnd) return',
    replace: "if (MUT('past-end-waits') && offset > log.committedEnd) return ErrorCode.BEHIND;\n  if (MUT('end-is-out-of-range') && offset === log.committedEnd && offset > 0) return ErrorCode.OFFSET_OUT_OF_RANGE;\n  if (offset < log.logStart || offset > log.committedEnd) return" },
  { faults: { 'prev-term-ignored': 'prev_term is ignored' }, file: START,
    find: 'if (prevTerm === NONE ||', replace: "if (MUT('prev-term-ignored') || prevTerm === NONE ||" },
  { faults: { 'next-moves': '`next` means the end at every look' }, file: START,
    find: 'return pinned === NONE ? log.committedEnd : pinned;', replace: "return pinned === NONE || MUT('next-moves') ? log.committedEnd : pinned;" },
  { faults: { 'find-last': 'FIND_OFFSET finds the batch after the time' }, file: START,
    find: 'log.log.firstIndexAtTime(timeMs);', replace: "log.log.firstIndexAtTime(timeMs + (MUT('find-last') ? 1 : 0));" },
  { faults: { 'control-wakes': 'any commit ends a wait, one of control batches too' }, file: LOG,
    find: 'if (nextOffset !== endBefore) this.readers.committed(this.#bytes.committed);',
    replace: "if (nextOffset !== endBefore) this.readers.committed(this.#bytes.committed);\n    else if (MUT('control-wakes')) this.readers.expireAll();" },
  { faults: { 'control-wakes': 'any commit ends a wait, one of control batches too' }, file: READERS,
    find: '  /** Leadership was confirmed for', replace: "  expireAll(): void {\n    for (const wait of [...this.#waits]) (wait as unknown as { expire(): void }).expire();\n  }\n\n  /** Leadership was confirmed for" },
  { faults: { 'no-wakeup': 'nobody is woken by new records', 'wakes-one': 'only one of those who wait is woken' }, file: READERS,
    find: 'for (const wait of due) wait.advance();', replace: "for (const wait of MUT('no-wakeup') ? [] : MUT('wakes-one') ? due.slice(0, 1) : due) wait.advance();" },
  { faults: { 'control-visible': 'control batches are sent to clients' }, file: 'src/replica/reader.ts',
    find: '      if (isControl(buffer, at)) {\n        this.#push', replace: "      if (isControl(buffer, at) && !MUT('control-visible')) {\n        this.#push" },

  { faults: { 'ignore-credit': 'batches are delivered without credit' }, file: STREAM,
    find: 'while (!this.done && !this.reading && this.#balance > 0) {', replace: "while (!this.done && !this.reading && (this.#balance > 0 || MUT('ignore-credit'))) {" },
  { faults: { 'ignore-credit': 'batches are delivered without credit' }, file: STREAM,
    find: 'const bytesMax = Math.min(this.#balance,', replace: "const bytesMax = Math.min(MUT('ignore-credit') ? 1 << 20 : this.#balance," },
  { faults: { 'credit-without-header': 'headers cost no credit' }, file: STREAM,
    find: 'this.#balance -= run.bytes;', replace: "this.#balance -= run.bytes - (MUT('credit-without-header') ? 72 : 0);" },
  { faults: { 'credit-wraps': 'a CREDIT beyond 2^31 − 1 is taken' }, file: STREAM,
    find: 'if (this.#balance > CREDIT_MAX) return this.fail(ErrorCode.FLOW_CONTROL);\n    this.pump();', replace: "if (this.#balance > CREDIT_MAX && !MUT('credit-wraps')) return this.fail(ErrorCode.FLOW_CONTROL);\n    this.pump();" },
  { faults: { 'trim-skips-silently': 'a subscription overtaken by TRIM goes on' }, file: STREAM,
    find: 'if (this.#nextOffset < log.logStart) return this.fail(', replace: "if (this.#nextOffset < log.logStart && !MUT('trim-skips-silently')) return this.fail(" },
  { faults: { 'cancelled-subscribe-delivers': 'a cancelled SUBSCRIBE is answered and ended by DELIVER' }, file: STREAM,
    find: 'const op = this.#started ? Op.DELIVER : Op.SUBSCRIBE;', replace: "if (MUT('cancelled-subscribe-delivers') && !this.#started && code === ErrorCode.CANCELED) return;\n    const op = this.#started ? Op.DELIVER : Op.SUBSCRIBE;" },

  { faults: { 'settings-unchecked': 'memory and interval logs may have copies' }, file: SETTINGS,
    find: 'if (durability !== Durability.FSYNC && replication > 1) {', replace: "if (durability !== Durability.FSYNC && replication > 1 && !MUT('settings-unchecked')) {" },
  { faults: { 'alter-half': 'ALTER_LOG is not checked' }, file: SETTINGS,
    find: 'if (fault !== null) return fault;', replace: "if (fault !== null && !MUT('alter-half')) return fault;" },
  { faults: { 'uid-by-name': 'a log of the same name has the same uid' }, file: 'src/replica/logs.ts',
    find: "const uid = this.#context.randomBytes(16).toString('hex');",
    replace: "const uid = MUT('uid-by-name') ? require('node:crypto').createHash('sha256').update(name).digest('hex').slice(0, 32) : this.#context.randomBytes(16).toString('hex');" },
  { faults: { 'retention-eager': 'size retention removes one segment too many', 'retention-ignores-settings': 'size retention keeps a few segments whatever the settings' }, file: 'src/replica/retention.ts',
    find: 'if (retainBytes === 0) return -1;', replace: "if (MUT('retention-eager')) retainBytes = Math.max(1, retainBytes - 2_097_152);\n  if (MUT('retention-ignores-settings')) retainBytes = 1;\n  if (retainBytes === 0) return -1;" },

  { faults: { 'ack-before-commit': 'a batch counts as committed when it is appended' }, file: GROUP,
    find: 'this.driver.proposed();\n    return index;',
    replace: "this.driver.proposed();\n    if (MUT('ack-before-commit')) { const { term } = this; setImmediate(() => this.durable(index, term, this.#log.generation)); }\n    return index;" },
  { faults: { 'ack-after-failed-sync': 'a failed sync is passed over' }, file: GROUP,
    find: 'failed(error: DiskError): void {', replace: "failed(error: DiskError): void {\n    if (MUT('ack-after-failed-sync')) return;" },
  { faults: { 'forget-dedupe-on-restart': 'producers are forgotten at a start', 'forget-positions-on-restart': 'positions are forgotten at a start' }, file: 'src/replica/open-log.ts',
    find: 'const replica = new LogReplica(context, descriptor, log, group, scan.rebuild.state);',
    replace: `if (MUT('forget-dedupe-on-restart')) ${emptyTable('producers', '10_000, 64')}\n  if (MUT('forget-positions-on-restart')) ${emptyTable('positions', '10_000')}\n  const replica = new LogReplica(context, descriptor, log, group, scan.rebuild.state);` },
  { faults: { 'restore-loses-state': 'a restored log has lost its producers and positions' }, file: 'src/replica/open-log.ts',
    find: 'const stopped = whyStopped(context, descriptor, log, scan);',
    replace: `if (MUT('restore-loses-state') && descriptor.formerUid !== undefined) { ${emptyTable('producers', '10_000, 64')} ${emptyTable('positions', '10_000')} }\n  const stopped = whyStopped(context, descriptor, log, scan);` },
  { faults: { 'interval-never-syncs': 'logs with durability interval are never synced' }, file: 'src/segment/log.ts',
    find: "if (durability.mode !== 'interval' ||", replace: "if (durability.mode !== 'interval' || MUT('interval-never-syncs') ||" },
];
