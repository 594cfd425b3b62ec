// The bare loop that sidelog is measured against: length-prefixed frames over TCP or TLS, group
// commit (one write and one fdatasync in flight), an ack per request. Nothing is parsed but the
// length and the id, nothing is checked, nothing can be read back. For reads: a sender of the
// same bytes. Prints {"port":N} when it listens.
//
//   node bare.mjs produce DIR [--tls CERT KEY]
//   node bare.mjs send FILE... [--tls CERT KEY]     frames of whole batches, cut before the start
import { closeSync, fdatasync, openSync, readFileSync, readSync, read, statSync, write } from 'node:fs';
import { createServer as createTcpServer } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';

const HEADER_SIZE = 12;
const SEGMENT_HEAD_SIZE = 4096;
const BATCH_HEADER_SIZE = 72;
const SEND_SIZE_MAX = 256 * 1024;

const args = process.argv.slice(2);
const tlsAt = args.indexOf('--tls');
const tls = tlsAt < 0 ? null : { cert: readFileSync(args[tlsAt + 1]), key: readFileSync(args[tlsAt + 2]) };
if (tlsAt >= 0) args.splice(tlsAt, 3);
const [mode, ...operands] = args;

const server = tls === null ? createTcpServer({ noDelay: true }) : createTlsServer({ ...tls, noDelay: true });
server.on(tls === null ? 'connection' : 'secureConnection', mode === 'produce' ? produceLoop(operands[0]) : sendLoop(operands));
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
process.on('SIGTERM', () => process.exit(0));

function produceLoop(directory) {
  const file = openSync(`${directory}/bare.log`, 'w');
  let slab = Buffer.allocUnsafeSlow(4 << 20);
  let spare = Buffer.allocUnsafeSlow(4 << 20);
  let used = 0;
  let position = 0;
  let busy = false;
  let scheduled = false;
  /** Acks owed for what lies in the slab: one growing buffer per connection. */
  let waiting = new Set();

  function flush() {
    scheduled = false;
    if (busy || used === 0) return;
    busy = true;
    const size = used;
    const owed = waiting;
    const data = slab;
    slab = spare;
    spare = data;
    used = 0;
    waiting = new Set();
    for (const connection of owed) connection.seal();
    write(file, data, 0, size, position, (error, written) => {
      if (error !== null || written !== size) throw error ?? new Error('short write');
      position += size;
      fdatasync(file, (failure) => {
        if (failure !== null) throw failure;
        busy = false;
        for (const connection of owed) connection.send();
        flush();
      });
    });
  }

  return (socket) => {
    let rest = null;
    let acks = Buffer.allocUnsafe(64 * 1024);
    let acksUsed = 0;
    let sealed = [];
    const connection = {
      seal() {
        sealed.push(acks.subarray(0, acksUsed));
        acks = Buffer.allocUnsafe(Math.max(64 * 1024, acksUsed));
        acksUsed = 0;
      },
      send() {
        const buffer = sealed.shift();
        if (!socket.destroyed) socket.write(buffer);
      },
    };
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk) => {
      let buffer = chunk;
      if (rest !== null) buffer = Buffer.concat([rest, chunk]);
      let at = 0;
      while (buffer.length - at >= HEADER_SIZE) {
        const size = buffer.readUInt32BE(at) + 4;
        if (buffer.length - at < size) break;
        if (acks.length - acksUsed < HEADER_SIZE) {
          const grown = Buffer.allocUnsafe(acks.length * 2);
          acks.copy(grown, 0, 0, acksUsed);
          acks = grown;
        }
        acks.writeUInt32BE(8, acksUsed);
        acks.writeUInt32BE((buffer[at + 4] << 24) | 0x10000, acksUsed + 4);
        acks.writeUInt32BE(buffer.readUInt32BE(at + 8), acksUsed + 8);
        acksUsed += HEADER_SIZE;
        at += size;
      }
      if (at > 0) {
        if (slab.length - used < at) {
          const grown = Buffer.allocUnsafeSlow((used + at) * 2);
          slab.copy(grown, 0, 0, used);
          slab = grown;
        }
        buffer.copy(slab, used, 0, at);
        used += at;
        waiting.add(connection);
        if (!busy && !scheduled) {
          scheduled = true;
          setImmediate(flush);
        }
      }
      rest = at === buffer.length ? null : buffer.subarray(at);
    });
  };
}

/** Streams the batches of the segment files, in frames of whole batches, as fast as the socket takes them. */
function sendLoop(files) {
  const cuts = files.flatMap(frameCuts);
  return (socket) => {
    socket.on('error', () => socket.destroy());
    socket.resume();
    let next = 0;
    const step = () => {
      if (next === cuts.length) return socket.end();
      const { descriptor, position, size } = cuts[next++];
      const buffer = Buffer.allocUnsafe(HEADER_SIZE + 10 + size);
      buffer.fill(0, 0, HEADER_SIZE + 10);
      buffer.writeUInt32BE(8 + 10 + size, 0);
      buffer[4] = 0x33;
      buffer[5] = 3;
      buffer.writeUInt32BE(1, 8);
      read(descriptor, buffer, HEADER_SIZE + 10, size, position, (error) => {
        if (error !== null) throw error;
        if (socket.write(buffer)) step();
        else socket.once('drain', step);
      });
    };
    socket.once('data', step);
  };
}

function frameCuts(path) {
  const descriptor = openSync(path, 'r');
  const end = statSync(path).size;
  const head = Buffer.alloc(BATCH_HEADER_SIZE);
  const cuts = [];
  let start = SEGMENT_HEAD_SIZE;
  let position = start;
  while (position + BATCH_HEADER_SIZE <= end) {
    readSync(descriptor, head, 0, BATCH_HEADER_SIZE, position);
    if (head.readUInt32BE(0) !== 0x534c4231) break;
    const size = BATCH_HEADER_SIZE + head.readUInt32BE(44);
    const control = (head.readUInt16BE(52) & 0x10) !== 0;
    if (control || position + size - start > SEND_SIZE_MAX) {
      if (position > start) cuts.push({ descriptor, position: start, size: position - start });
      start = control ? position + size : position;
    }
    position += size;
  }
  if (position > start) cuts.push({ descriptor, position: start, size: position - start });
  if (cuts.length === 0) closeSync(descriptor);
  return cuts;
}
