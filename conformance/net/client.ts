// A client of plane C for cases: preface and HELLO, requests by name, answers decoded strictly, and
// errors checked against the table of §11. Sends wrong things as readily as right ones.
import { Failure, show } from '../engine/failure.ts';
import type { Rules } from '../engine/rules.ts';
import { BatchError, parseBatches } from '../wire/batch.ts';
import type { Batch } from '../wire/batch.ts';
import { DecodeError, decodeError, decodeRequest, decodeResponse, encodeRequest } from '../wire/codec.ts';
import { FATAL, errorByName, errorTlvs, statusName } from '../wire/errors.ts';
import type { ErrorTlvs } from '../wire/errors.ts';
import { FLAG_MORE, FLAG_RESPONSE, buildFrame, buildPreface } from '../wire/frame.ts';
import type { Frame } from '../wire/frame.ts';
import { LAYOUTS } from '../wire/layouts.ts';
import type { InputOf, OpName, ResponseOf, Tlv } from '../wire/layouts.ts';
import type { Conn } from './conn.ts';

export interface ErrorAnswer {
  readonly code: number;
  readonly name: string;
  readonly class: number;
  readonly retryAfterMs: number;
  readonly message: string;
  readonly tlvs: ErrorTlvs;
}

export interface Answer<K extends OpName> {
  readonly frame: Frame;
  /** `OK` or the error's name. */
  readonly status: string;
  /** Of an OK answer. */
  readonly fields: ResponseOf<K>;
  readonly error: ErrorAnswer | null;
}

export interface RequestOptions {
  readonly id?: number;
  readonly flags?: number;
  readonly status?: number;
  readonly length?: number;
  readonly payload?: Buffer;
}

/** PINGs that a client in mode `joined` appends have ids from here on. */
const JOINED_IDS = 0xf000_0000;
/** idle_ms that means never: no PING disturbs a case. */
export const NEVER = 0xffff_ffff;

export function decodeAnswerError(frame: Frame): ErrorAnswer {
  try {
    const body = decodeError(frame.payload);
    return {
      code: frame.status, name: statusName(frame.status), class: body.class, retryAfterMs: body.retry_after_ms,
      message: body.message, tlvs: errorTlvs(body.ext),
    };
  } catch (error) {
    throw undecodable(`the error body of ${statusName(frame.status)}`, error);
  }
}

function undecodable(what: string, error: unknown): Error {
  if (!(error instanceof DecodeError || error instanceof BatchError)) return error as Error;
  return new Failure(`decoding ${what}`, 'bytes of the layout', error.message);
}

export class Client {
  readonly conn: Conn;
  /** What HELLO's answer said. */
  hello!: ResponseOf<'HELLO'>;
  readonly joined: boolean;
  /** Answer PINGs of the server. */
  pong = true;
  /** Watches every frame, if set. */
  rules: Rules | null = null;
  private nextId = 1;
  private joinedSent = 0;
  private joinedSeen = 0;

  constructor(conn: Conn, joined = false) {
    this.conn = conn;
    this.joined = joined;
    const before = conn.onFrame;
    conn.onFrame = (frame) => {
      before?.(frame);
      this.session(frame);
    };
  }

  /** Preface and HELLO in one write; resolves when READY. */
  async open(hello: InputOf<'HELLO'> = {}): Promise<ResponseOf<'HELLO'>> {
    this.conn.write(buildPreface());
    const pending = this.request('HELLO', { minor: 0, max_frame: 4 << 20, idle_ms: NEVER, client: 'sidelog-conformance', ...hello });
    const answer = await this.conn.takeRaw(8, "the server's preface");
    if (!answer.equals(buildPreface({ min: 0 }))) {
      throw new Failure('reading the preface', 'fa534c4743010000', answer.toString('hex'));
    }
    this.conn.startFraming();
    this.hello = (await this.okAnswer('HELLO', pending)).fields;
    return this.hello;
  }

  newId(): number {
    return this.nextId++;
  }

  /** Goes on with ids from `next`, so that a case can use those below; returns `next`. */
  skipIds(next: number): number {
    this.nextId = Math.max(next, this.nextId);
    return this.nextId;
  }

  /** Sends a request and returns its id. */
  request<K extends OpName>(name: K, input: InputOf<K> = {}, options: RequestOptions = {}): number {
    const payload = options.payload ?? encodeRequest(name, input);
    return this.sendOp(LAYOUTS[name].op, payload, options);
  }

  /** The bytes of a request, not sent. */
  bytesOf<K extends OpName>(name: K, input: InputOf<K> = {}, options: RequestOptions = {}): Buffer {
    const payload = options.payload ?? encodeRequest(name, input);
    const id = options.id ?? this.newId();
    this.rules?.sent(LAYOUTS[name].op, id, payload);
    return buildFrame({ op: LAYOUTS[name].op, payload, ...options, id });
  }

  /** Sends a frame with any op number. */
  sendOp(op: number, payload: Buffer, options: RequestOptions = {}): number {
    const id = options.id ?? this.newId();
    const frame = buildFrame({ op, payload, ...options, id });
    this.rules?.sent(op, id, payload);
    if (!this.joined) this.conn.write(frame, true);
    else {
      const pingId = JOINED_IDS + this.joinedSent++;
      const ping = buildFrame({ op: 3, id: pingId, payload: Buffer.alloc(6) });
      this.rules?.sent(3, pingId, ping);
      this.conn.write(Buffer.concat([frame, ping]));
    }
    return id;
  }

  /** The next frame of the answer to `id`, decoded; DELIVER frames are not taken. */
  async answer<K extends OpName>(name: K, id: number, ms?: number): Promise<Answer<K>> {
    const frame = await this.conn.takeFrame(
      `the answer to ${name} ${id}`, (f) => (f.flags & FLAG_RESPONSE) !== 0 && f.id === id && f.op !== LAYOUTS.DELIVER.op, ms);
    return this.decode(name, frame);
  }

  decode<K extends OpName>(name: K, frame: Frame): Answer<K> {
    if (frame.op !== LAYOUTS[name].op) {
      throw new Failure(`the answer to ${name}`, `op ${LAYOUTS[name].op.toString(16)}`, `op ${frame.op.toString(16)}`);
    }
    if (frame.status !== 0) {
      return { frame, status: statusName(frame.status), fields: {} as ResponseOf<K>, error: decodeAnswerError(frame) };
    }
    try {
      return { frame, status: 'OK', fields: decodeResponse(name, frame.payload), error: null };
    } catch (error) {
      throw undecodable(`the answer to ${name}`, error);
    }
  }

  async call<K extends OpName>(name: K, input: InputOf<K> = {}, options: RequestOptions = {}): Promise<Answer<K>> {
    return this.answer(name, this.request(name, input, options));
  }

  /** Sends and demands OK. */
  async ok<K extends OpName>(name: K, input: InputOf<K> = {}, options: RequestOptions = {}): Promise<ResponseOf<K>> {
    return (await this.okAnswer(name, this.request(name, input, options))).fields;
  }

  async okAnswer<K extends OpName>(name: K, id: number, ms?: number): Promise<Answer<K>> {
    const answer = await this.answer(name, id, ms);
    if (answer.error) throw new Failure(`the answer to ${name}`, 'OK', `${answer.status}: ${answer.error.message}`);
    return answer;
  }

  /** Sends and demands an error of this name (or one of these), with these TLVs and the table's class. */
  async refused<K extends OpName>(
    name: K, input: InputOf<K>, error: string | readonly string[], tlvs: ErrorTlvs = {}, options: RequestOptions = {},
  ): Promise<ErrorAnswer> {
    return this.refusedAnswer(name, this.request(name, input, options), error, tlvs);
  }

  async refusedAnswer(name: OpName, id: number, error: string | readonly string[], tlvs: ErrorTlvs = {}, ms?: number): Promise<ErrorAnswer> {
    return demandError(await this.answer(name, id, ms), name, error, tlvs);
  }

  /** A PING and its answer: everything sent before has been judged. */
  async barrier(): Promise<void> {
    const data = Buffer.from(`barrier ${this.nextId}`);
    const { fields } = await this.okAnswer('PING', this.request('PING', { data }));
    if (!fields.data.equals(data)) throw new Failure('PING', show(data), show(fields.data));
    if (this.joined) await this.conn.waitFor('the answers to the joined PINGs', () => (this.joinedSeen >= this.joinedSent ? true : undefined));
  }

  /** The next frame for subscription `id`: a DELIVER. */
  async deliver(id: number, ms?: number): Promise<Answer<'DELIVER'> & { readonly more: boolean; readonly batches: Batch[] }> {
    const frame = await this.conn.takeFrame(`a DELIVER for ${id}`, (f) => (f.flags & FLAG_RESPONSE) !== 0 && f.id === id, ms);
    const answer = this.decode('DELIVER', frame);
    return { ...answer, more: (frame.flags & FLAG_MORE) !== 0, batches: answer.error ? [] : batchesOf(answer.fields.batches) };
  }

  /** Waits for a GOAWAY with this code and the fatal bit, and then the end of the connection. */
  async endedWith(error: string, tlvs: ErrorTlvs = {}, ms?: number): Promise<void> {
    const goaway = await this.goaway(ms);
    demandGoaway(goaway, error, tlvs);
    const how = await this.conn.untilEnded();
    if (how !== 'fin') throw new Failure(`the end of the connection after ${error}`, 'FIN', 'a reset');
    if (this.conn.inbox.length > 0) {
      throw new Failure('after the GOAWAY', 'no frame', `a frame with op ${this.conn.inbox[0]!.op.toString(16)}`);
    }
  }

  /** The next GOAWAY of the server. */
  async goaway(ms?: number): Promise<{ code: string; class: number; graceMs: number; id: number; tlvs: ErrorTlvs }> {
    const frame = await this.conn.takeFrame('a GOAWAY', (f) => (f.flags & FLAG_RESPONSE) === 0 && f.op === LAYOUTS.GOAWAY.op, ms);
    try {
      const fields = decodeRequest('GOAWAY', frame.payload) as { code: number; class: number; grace_ms: number; ext: Tlv[] };
      return { code: statusName(fields.code), class: fields.class, graceMs: fields.grace_ms, id: frame.id, tlvs: errorTlvs(fields.ext) };
    } catch (error) {
      throw undecodable('a GOAWAY', error);
    }
  }

  /** Frames that arrived and nobody took, session frames of the server apart. */
  get unexpected(): Frame[] {
    return this.conn.inbox;
  }

  private session(frame: Frame): void {
    const drop = (): void => void this.conn.inbox.splice(this.conn.inbox.indexOf(frame), 1);
    if (frame.op === LAYOUTS.PING.op && (frame.flags & FLAG_RESPONSE) === 0 && this.pong) {
      drop();
      this.conn.write(buildFrame({ op: frame.op, flags: FLAG_RESPONSE, id: frame.id, payload: frame.payload }), true);
    } else if (this.joined && frame.op === LAYOUTS.PING.op && frame.id >= JOINED_IDS) {
      drop();
      this.joinedSeen++;
    }
  }
}

export function batchesOf(bytes: Buffer): Batch[] {
  try {
    return parseBatches(bytes);
  } catch (error) {
    throw undecodable('the batches of an answer', error);
  }
}

/** Demands that `answer` is this error, with the class of §11.2 and these TLVs. */
export function demandError(
  answer: { readonly fields: unknown; readonly error: ErrorAnswer | null }, name: string, error: string | readonly string[], tlvs: ErrorTlvs = {},
): ErrorAnswer {
  const names = typeof error === 'string' ? [error] : error;
  const wanted = names.join(' or ');
  if (answer.error === null) throw new Failure(`the answer to ${name}`, wanted, `OK ${show(answer.fields)}`);
  if (!names.includes(answer.error.name)) {
    throw new Failure(`the answer to ${name}`, wanted, `${answer.error.name}: ${answer.error.message}${show(answer.error.tlvs)}`);
  }
  const right = errorByName(answer.error.name);
  const fatal = name === 'HELLO' ? FATAL : 0;
  if (answer.error.class !== (right.class | fatal)) {
    throw new Failure(`the class of ${right.name}`, hexByte(right.class | fatal), hexByte(answer.error.class));
  }
  for (const tlv of right.tlvs) {
    if (answer.error.tlvs[tlv] === undefined) throw new Failure(`the TLVs of ${right.name}`, `the TLV ${tlv}`, show(answer.error.tlvs));
  }
  demandTlvs(right.name, answer.error.tlvs, tlvs);
  return answer.error;
}

function demandGoaway(goaway: { code: string; class: number; tlvs: ErrorTlvs; id: number }, error: string, tlvs: ErrorTlvs): void {
  if (goaway.code !== error) throw new Failure('the GOAWAY', `the code ${error}`, goaway.code);
  const cls = errorByName(error).class | FATAL;
  if (goaway.class !== cls) throw new Failure(`the class of the GOAWAY ${error}`, hexByte(cls), hexByte(goaway.class));
  if (goaway.id !== 0) throw new Failure('the id of a GOAWAY', '0', String(goaway.id));
  demandTlvs(`GOAWAY ${error}`, goaway.tlvs, tlvs);
}

function demandTlvs(what: string, got: ErrorTlvs, wanted: ErrorTlvs): void {
  for (const key of Object.keys(wanted) as (keyof ErrorTlvs)[]) {
    if (show(got[key]) !== show(wanted[key])) throw new Failure(`the TLV ${key} of ${what}`, show(wanted[key]), show(got[key]));
  }
}

function hexByte(value: number): string {
  return `0x${value.toString(16).padStart(2, '0')}`;
}
