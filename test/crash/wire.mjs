// A small protocol client of its own for the crash rounds, written from docs/protocol.md: it shares
// no code with the product, so that a bug in the product's client cannot hide one in its server.
import { connect } from 'node:net';
import { crc32 } from 'node:zlib';

export const Op = { HELLO: 1, CREATE_LOG: 0x11, PRODUCE: 0x20, INIT_PRODUCER: 0x21, FETCH: 0x30 };
const BATCH_HEADER_SIZE = 72;

export class Connection {
  /** Opens a connection and says HELLO; rejects when the server goes away meanwhile. */
  static async open(port) {
    const connection = new Connection(connect({ host: '127.0.0.1', port, noDelay: true }));
    await connection.ready;
    return connection;
  }

  constructor(socket) {
    this.socket = socket;
    this.nextId = 2;
    this.waiting = new Map();
    this.rest = Buffer.alloc(0);
    this.skip = 8;
    this.closed = new Promise((resolve) => (this.onClosed = resolve));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.end());
    socket.on('data', (chunk) => this.onData(chunk));
    socket.write(Buffer.from('fa534c4743010100', 'hex'));
    const hello = Buffer.concat([u16(0), u32(64 << 20), u32(0), u64(0), Buffer.alloc(16), str('crash'), u16(0)]);
    this.ready = this.call(Op.HELLO, hello);
  }

  /** Sends a request; resolves with {status, payload}, rejects with `lost` when the connection ends first. */
  call(op, payload) {
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.socket.write(frame(op, id, payload));
    });
  }

  destroy() {
    this.socket.destroy();
  }

  end() {
    for (const { reject } of this.waiting.values()) reject(new Error('lost'));
    this.waiting.clear();
    this.onClosed();
  }

  onData(chunk) {
    this.rest = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    if (this.skip > 0) {
      if (this.rest.length < this.skip) return;
      this.rest = this.rest.subarray(this.skip);
      this.skip = 0;
    }
    let at = 0;
    while (this.rest.length - at >= 12) {
      const size = this.rest.readUInt32BE(at) + 4;
      if (this.rest.length - at < size) break;
      const id = this.rest.readUInt32BE(at + 8);
      const status = this.rest.readUInt16BE(at + 6);
      const payload = this.rest.subarray(at + 12, at + size);
      const call = this.waiting.get(id);
      this.waiting.delete(id);
      call?.resolve({ status, payload });
      at += size;
    }
    this.rest = this.rest.subarray(at);
  }
}

export function produce(log, batch) {
  return Buffer.concat([str(log), Buffer.from([0, 0]), u32(60_000), Buffer.alloc(8, 0xff), u64(0), u16(0), batch]);
}

export function createLog(log, segmentBytes) {
  return Buffer.concat([str(log), Buffer.from([1, 0]), u32(0), u64(0), u64(0), u64(segmentBytes), Buffer.from([0]), u16(0)]);
}

export function initProducer(log, name) {
  return Buffer.concat([str(log), str(name), u16(0)]);
}

export function fetch(log, offset, maxBytes) {
  return Buffer.concat([str(log), Buffer.from([0, 1]), u64(offset), str(''), u32(1), u32(maxBytes), u32(0), u16(0)]);
}

/** A batch as a client sends it; `values` are buffers. */
export function batch(values, producerId = 0, epoch = 0, seq = 0) {
  const records = values.map((value) => Buffer.concat([u32(9 + value.length), Buffer.alloc(9), value]));
  const body = Buffer.concat(records);
  const bytes = Buffer.concat([Buffer.alloc(BATCH_HEADER_SIZE), body]);
  bytes.write('SLB1', 0, 'latin1');
  bytes.writeUInt32BE(body.length, 44);
  bytes.writeUInt32BE(values.length, 48);
  bytes.writeUInt16BE(epoch, 54);
  u64(producerId).copy(bytes, 56);
  u64(seq).copy(bytes, 64);
  bytes.writeUInt32BE(crc32(bytes.subarray(44)), 40);
  bytes.writeUInt32BE(crc32(bytes.subarray(8, BATCH_HEADER_SIZE)), 4);
  return bytes;
}

/** {baseOffset, nextOffset, duplicate} of a PRODUCE answer. */
export function readAck(payload) {
  return { baseOffset: readU64(payload, 0), nextOffset: readU64(payload, 8), duplicate: (payload[34] & 1) !== 0 };
}

export function readInitProducer(payload) {
  return { producerId: readU64(payload, 0), epoch: payload.readUInt16BE(8), nextSeq: readU64(payload, 10) };
}

/** {startOffset, committedEnd, records: [{offset, value}]} of a FETCH answer; throws on a wrong checksum. */
export function readFetch(payload) {
  const records = [];
  let at = 24 + 2 + payload.readUInt16BE(24);
  while (at < payload.length) {
    const end = at + BATCH_HEADER_SIZE + payload.readUInt32BE(at + 44);
    if (payload.toString('latin1', at, at + 4) !== 'SLB1') throw new Error('bad batch magic');
    if (crc32(payload.subarray(at + 8, at + BATCH_HEADER_SIZE)) !== payload.readUInt32BE(at + 4)) throw new Error('bad header checksum');
    if (crc32(payload.subarray(at + 44, end)) !== payload.readUInt32BE(at + 40)) throw new Error('bad body checksum');
    let offset = readU64(payload, at + 24);
    const count = payload.readUInt32BE(at + 48);
    const first = offset;
    for (let record = at + BATCH_HEADER_SIZE; record < end; offset++) {
      const size = payload.readUInt32BE(record);
      records.push({ offset, value: payload.subarray(record + 13, record + 4 + size) });
      record += 4 + size;
    }
    if (offset - first !== count) throw new Error('a batch with another count than it says');
    at = end;
  }
  return { startOffset: readU64(payload, 0), committedEnd: readU64(payload, 16), records };
}

function frame(op, id, payload) {
  const head = Buffer.alloc(12);
  head.writeUInt32BE(8 + payload.length, 0);
  head[4] = op;
  head.writeUInt32BE(id, 8);
  return Buffer.concat([head, payload]);
}

function u16(value) {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function u32(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function u64(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

function str(text) {
  return Buffer.concat([u16(Buffer.byteLength(text)), Buffer.from(text)]);
}

function readU64(buffer, at) {
  return Number(buffer.readBigUInt64BE(at));
}
