// Rules that hold for every frame a server ever sends, watched on every connection of every case:
// layouts, classes, flags, TLVs, batches. A breach is not the fault of the case in which it shows,
// so it is collected here and judged by the cases under always/.
import { BatchError, parseBatches } from '../wire/batch.ts';
import type { Batch } from '../wire/batch.ts';
import { DecodeError, decodeError, decodeFields, decodeRequest } from '../wire/codec.ts';
import { FATAL, errorRow, errorTlvs, statusName } from '../wire/errors.ts';
import { FLAG_MORE, FLAG_RESPONSE } from '../wire/frame.ts';
import type { Frame } from '../wire/frame.ts';
import { CRITICAL, GREASE_TLVS, LAYOUTS, layoutOf, opName } from '../wire/layouts.ts';
import type { OpName, Tlv } from '../wire/layouts.ts';

export type RuleName =
  | 'layout' | 'error-body' | 'class' | 'error-tlvs' | 'fatal-is-goaway' | 'known-status' | 'no-critical-tlv' | 'assigned-numbers'
  | 'answers-match' | 'more' | 'frame-length' | 'after-goaway' | 'batches-sound' | 'no-control-batch' | 'batch-size' | 'batches-dense'
  | 'stamps-rise' | 'deliver-order';

export interface Violation {
  readonly rule: RuleName;
  readonly caseId: string;
  readonly text: string;
}

interface Open {
  readonly op: number;
  /** Undefined for an op that the protocol does not name. */
  readonly name: OpName | undefined;
  answered: boolean;
}

const CLIENT_MAX_DEFAULT = 4 << 20;
const BEFORE_READY_MAX = 16_384;

/** One connection's watcher. */
export class Rules {
  private readonly report: (rule: RuleName, text: string) => void;
  private readonly open = new Map<number, Open>();
  private ready = false;
  private gone = false;
  private clientMax = CLIENT_MAX_DEFAULT;
  private maxBatch = Infinity;
  /** Off while a case sends frames that this class does not follow. */
  strictIds = true;

  constructor(report: (rule: RuleName, text: string) => void) {
    this.report = report;
  }

  sent(op: number, id: number, payload: Buffer): void {
    const name = opName(op);
    if (name === 'HELLO' && payload.length >= 6) this.clientMax = payload.readUInt32BE(2);
    if (name === 'CREDIT' || name === 'CANCEL' || name === 'GOAWAY') return;
    this.open.set(id, { op, name, answered: false });
  }

  received(frame: Frame): void {
    const what = `${opName(frame.op) ?? `op ${frame.op.toString(16)}`} id ${frame.id}`;
    if (this.gone) this.report('after-goaway', `${what} came after a GOAWAY with the fatal bit`);
    // An error answer to HELLO may say that the client's max_frame is too small to send it in.
    const limit = this.ready ? this.clientMax : BEFORE_READY_MAX;
    if (frame.length > limit) this.report('frame-length', `${what} has length ${frame.length}, the client takes ${limit}`);
    if ((frame.flags & 0xfc) !== 0) this.report('assigned-numbers', `${what} has flags 0x${frame.flags.toString(16)}`);
    if ((frame.flags & FLAG_RESPONSE) === 0) this.request(frame, what);
    else this.answer(frame, what);
  }

  private request(frame: Frame, what: string): void {
    const name = opName(frame.op);
    if (name !== 'PING' && name !== 'GOAWAY') {
      this.report('assigned-numbers', `a request ${what} came from the server`);
      return;
    }
    if (frame.status !== 0 || (frame.flags & FLAG_MORE) !== 0) this.report('more', `the request ${what} has flags ${frame.flags} and status ${frame.status}`);
    if (name === 'GOAWAY' ? frame.id !== 0 : frame.id === 0) this.report('answers-match', `${what}: 0 is the id of GOAWAY and of nothing else`);
    try {
      const fields = decodeRequest(name, frame.payload) as { ext: Tlv[]; class?: number; code?: number };
      this.tlvs(fields.ext, name === 'GOAWAY' ? [1, 2, 3, 4, 5, 6, 7, 8, 9] : [], what);
      if (name !== 'GOAWAY') return;
      errorTlvs(fields.ext);
      this.errorClass(fields.code!, fields.class!, (fields.class! & FATAL) !== 0, what);
      this.gone = (fields.class! & FATAL) !== 0;
    } catch (error) {
      this.broken('layout', what, error);
    }
  }

  private answer(frame: Frame, what: string): void {
    const open = this.open.get(frame.id);
    if (open === undefined) {
      if (this.strictIds) this.report('answers-match', `${what} answers nothing that is open`);
      return;
    }
    const isDeliver = frame.op === LAYOUTS.DELIVER.op;
    const wanted = isDeliver && open.answered ? LAYOUTS.DELIVER.op : open.op;
    if (frame.op !== wanted) this.report(isDeliver ? 'deliver-order' : 'answers-match', `${what} answers a ${open.name ?? open.op}${open.answered ? ' that was answered' : ''}`);
    if (open.answered && open.name === 'SUBSCRIBE' && !isDeliver) this.report('deliver-order', `${what}: a second answer`);
    this.flags(frame, open.name, isDeliver, what);
    if ((frame.flags & FLAG_MORE) === 0) this.open.delete(frame.id);
    open.answered = true;
    if (frame.status === 0) {
      if (open.name !== undefined) this.okAnswer(frame, isDeliver ? 'DELIVER' : open.name, what);
    } else this.errorAnswer(frame, open.name, what);
  }

  private flags(frame: Frame, name: OpName | undefined, isDeliver: boolean, what: string): void {
    const more = (frame.flags & FLAG_MORE) !== 0;
    const stream = name === 'SUBSCRIBE';
    const wanted = frame.status !== 0 ? false : stream ? true : name === 'LIST_LOGS' || name === 'LIST_POSITIONS' ? more : false;
    if (more !== wanted) this.report('more', `${what} has${more ? '' : ' not'} MORE, status ${statusName(frame.status)}`);
    if (isDeliver && frame.status === 0 && !more) this.report('more', `${what}: a DELIVER with status 0 without MORE`);
  }

  private okAnswer(frame: Frame, name: OpName, what: string): void {
    const layout = layoutOf(name);
    let fields: Record<string, unknown>;
    try {
      fields = decodeFields(layout.response, frame.payload);
    } catch (error) {
      this.broken('layout', what, error);
      return;
    }
    this.tlvs(fields.ext as Tlv[], layout.answersUid ? [2] : [], what);
    if (name === 'HELLO') {
      this.maxBatch = fields.max_batch as number;
      this.ready = fields.auth_required === 0;
    }
    if (name === 'AUTH') this.ready ||= fields.done === 1;
    if (Buffer.isBuffer(fields.batches)) this.batches(fields.batches, name, what);
  }

  private errorAnswer(frame: Frame, name: OpName | undefined, what: string): void {
    if (errorRow(frame.status) === undefined) {
      this.report('known-status', `${what} has the status ${frame.status}, which §11.2 does not list`);
    }
    try {
      const body = decodeError(frame.payload);
      this.tlvs(body.ext, [1, 2, 3, 4, 5, 6, 7, 8, 9], what);
      const tlvs = errorTlvs(body.ext);
      const fatal = name === 'HELLO' || (name === 'AUTH' && (body.class & FATAL) !== 0);
      if ((body.class & FATAL) !== 0 && !fatal) this.report('fatal-is-goaway', `${what}: ${statusName(frame.status)} with bit 04 as an answer`);
      this.errorClass(frame.status, body.class, fatal, what);
      for (const tlv of errorRow(frame.status)?.tlvs ?? []) {
        if (tlvs[tlv] === undefined) this.report('error-tlvs', `${what}: ${statusName(frame.status)} without the TLV ${tlv}`);
      }
      if (frame.status === 210 && !tlvs.log_uid && !tlvs.range) this.report('error-tlvs', `${what}: LOG_CHANGED with neither log_uid nor range`);
    } catch (error) {
      this.broken('error-body', what, error);
    }
  }

  private errorClass(code: number, cls: number, fatal: boolean, what: string): void {
    const row = errorRow(code);
    if (row === undefined) {
      if (code !== 0) this.report('known-status', `${what} has the code ${code}, which §11.2 does not list`);
      return;
    }
    const wanted = fatal ? row.class | FATAL : row.class;
    if (cls !== wanted) this.report('class', `${what}: ${row.name} has class 0x${cls.toString(16)}, not 0x${wanted.toString(16)}`);
  }

  private tlvs(tlvs: readonly Tlv[], known: readonly number[], what: string): void {
    for (const { type } of tlvs) {
      if ((type & CRITICAL) !== 0) this.report('no-critical-tlv', `${what} has the critical TLV ${type.toString(16)}`);
      const plain = type & ~CRITICAL;
      if (!known.includes(plain) && !(GREASE_TLVS as readonly number[]).includes(plain)) {
        this.report('assigned-numbers', `${what} has the TLV ${plain}, which this layout does not know`);
      }
    }
  }

  private batches(bytes: Buffer, name: OpName, what: string): void {
    let batches: Batch[];
    try {
      batches = parseBatches(bytes);
    } catch (error) {
      this.broken('batches-sound', what, error);
      return;
    }
    if (name === 'DELIVER' && batches.length === 0) this.report('deliver-order', `${what}: a DELIVER with status 0 and no batch`);
    for (const [i, batch] of batches.entries()) {
      const which = `${what}, the batch at offset ${batch.baseOffset}`;
      if ((batch.attributes & 0x10) !== 0 || batch.count === 0) this.report('no-control-batch', `${which} is a control batch`);
      if (batch.bytes.length > this.maxBatch) this.report('batch-size', `${which} has ${batch.bytes.length} bytes, max_batch is ${this.maxBatch}`);
      const before = batches[i - 1];
      if (before === undefined) continue;
      if (batch.baseOffset !== before.nextOffset) this.report('batches-dense', `${which} follows one that ends before ${before.nextOffset}`);
      if (batch.appendTime < before.appendTime || batch.term < before.term || batch.index <= before.index) {
        this.report('stamps-rise', `${which}: time, term or index do not go on from the batch before`);
      }
    }
  }

  private broken(rule: RuleName, what: string, error: unknown): void {
    if (!(error instanceof DecodeError || error instanceof BatchError || error instanceof RangeError)) throw error;
    this.report(rule, `${what}: ${error.message}`);
  }
}
