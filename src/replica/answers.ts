// Payloads of the answers that are written often or behind which data follows, field by field in the
// order of protocol-v1 §4. The rest goes through the layouts of wire/responses-*.ts.
import type { Writer } from '../wire/bytes.ts';

const TLV_LOG_UID = 0x0002;
const UID_SIZE = 16;

/** An ext that holds the log_uid, or an empty one: the uid is sent when the request did not carry it. */
export function writeUidExt(w: Writer, uid: Buffer | null): void {
  if (uid === null) {
    w.u16(0);
    return;
  }
  w.u16(4 + UID_SIZE);
  w.u16(TLV_LOG_UID);
  w.u16(UID_SIZE);
  w.id16(uid);
}

/** FETCH and SUBSCRIBE. */
export function writeReadHead(w: Writer, startOffset: number, logStart: number, committedEnd: number, uid: Buffer | null): void {
  w.u64(startOffset);
  w.u64(logStart);
  w.u64(committedEnd);
  writeUidExt(w, uid);
}

/** DELIVER. */
export function writeDeliverHead(w: Writer, committedEnd: number): void {
  w.u64(committedEnd);
  w.u16(0);
}
