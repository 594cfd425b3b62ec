// The shortest way from ready-made batches to acks: no promise, no object and no retry per batch. For
// programs that build batches themselves and count acks; everybody else wants Producer.
import { Reader, readU16, readU64 } from '../bytes.ts';
import { readErrorBody } from '../error-body.ts';
import type { ProtocolError } from '../errors.ts';
import type { FrameReader } from '../frame.ts';
import { NONE } from '../limits.ts';
import { Op } from '../ops.ts';
import { Writer } from '../bytes.ts';
import { produceRequest } from '../requests-write.ts';
import { produceResponse } from '../responses-data.ts';
import { LocalCode, LocalError } from './errors.ts';
import type { Link } from './link.ts';
import type { AnswerSink } from './pending.ts';

export interface RawProducerOptions {
  /** How long the server waits for the commit. Default 30,000. */
  timeoutMs?: number | undefined;
  /** The log's fence token. */
  fence?: number | undefined;
  /** A batch is in: its tag, and its offsets (NONE for a forgotten duplicate). Must not throw. */
  onAck(tag: number, baseOffset: number, nextOffset: number): void;
  /** A batch was refused, or its connection ended. Must not throw. */
  onError(tag: number, error: ProtocolError): void;
}

/** Bytes of an OK answer without log_uid. */
const ANSWER_SIZE = 38;

export class RawProducer implements AnswerSink {
  private readonly link: Link;
  private readonly options: RawProducerOptions;
  private readonly head: Buffer;

  constructor(link: Link, log: string, logUid: Buffer | undefined, options: RawProducerOptions) {
    this.link = link;
    this.options = options;
    const { timeoutMs = 0, fence = 0 } = options;
    const w = new Writer();
    produceRequest.write(w, { log, flags: 0, timeoutMs, expectedOffset: NONE, fence, logUid, batch: Buffer.alloc(0) });
    this.head = w.copy();
  }

  /** Sends a whole batch, which must not change until its ack; `tag` comes back with it. */
  produce(batch: Buffer, tag: number): void {
    const machine = this.link.machine;
    if (machine === null) {
      this.options.onError(tag, new LocalError(LocalCode.CONNECTION_LOST, 'there is no connection', 'none'));
      return;
    }
    const at = machine.begin(Op.PRODUCE, this, tag);
    machine.output.writer.raw(this.head);
    machine.finish(at, batch);
  }

  answer(tag: number, frame: FrameReader): void {
    const { buffer, start, end, status } = frame;
    if (status !== 0) {
      this.options.onError(tag, readErrorBody(new Reader(buffer, start, end), status));
      return;
    }
    // The common layout is read in place; anything else is judged by the codec.
    const isPlain = end - start === ANSWER_SIZE && readU16(buffer, start + 36) === 0;
    if (!isPlain) produceResponse.read(new Reader(buffer, start, end));
    this.options.onAck(tag, readU64(buffer, start), readU64(buffer, start + 8));
  }

  lost(tag: number, error: ProtocolError): void {
    this.options.onError(tag, error);
  }
}
