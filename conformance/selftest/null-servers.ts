// Servers that do nothing right: against these (nearly) no case may pass, or it checks nothing.
import * as net from 'node:net';

export interface NullServer {
  readonly name: string;
  readonly what: string;
  /** Part of the quick gate. */
  readonly isQuick?: true;
  onConnection(socket: net.Socket, crash: () => void): void;
}

const okPreface = Buffer.from('fa534c4743010000', 'hex');

export const nullServers: readonly NullServer[] = [
  { name: 'close', what: 'accepts and closes', isQuick: true, onConnection: (socket) => void socket.end() },
  { name: 'hang', what: 'accepts and says nothing', onConnection: (socket) => void socket.resume() },
  { name: 'echo', what: 'sends back what it gets', onConnection: (socket) => void socket.pipe(socket) },
  {
    name: 'random', what: 'answers with random bytes',
    onConnection(socket) {
      let state = 1;
      socket.on('data', () => {
        state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
        const bytes = Buffer.alloc(1 + (state % 64));
        for (let i = 0; i < bytes.length; i++) bytes[i] = (state >>> (i % 24)) ^ (i * 31);
        if (socket.writable) socket.write(bytes);
      });
    },
  },
  { name: 'always-ok', what: 'answers every request with OK and no payload', isQuick: true, onConnection: (socket) => answerAll(socket, Buffer.alloc(0)) },
  {
    name: 'crash', what: 'crashes at the first bytes it does not like and is started again',
    onConnection(socket, crash) {
      let first = true;
      socket.on('data', (chunk: Buffer) => {
        if (!socket.writable) return;
        if (first && chunk.length >= 8 && chunk.subarray(0, 4).equals(okPreface.subarray(0, 4)) && chunk[4] === 0x43) socket.write(okPreface);
        else crash();
        first = false;
      });
    },
  },
];

function answerAll(socket: net.Socket, payload: Buffer): void {
  let held = Buffer.alloc(0) as Buffer;
  let prefaced = false;
  /** Bytes of a payload that are still to come and that nobody looks at. */
  let skip = 0;
  socket.on('data', (chunk: Buffer) => {
    const passed = Math.min(skip, chunk.length);
    skip -= passed;
    held = Buffer.concat([held, chunk.subarray(passed)]);
    if (!prefaced && held.length >= 8) {
      prefaced = true;
      held = held.subarray(8);
      socket.write(okPreface);
    }
    while (prefaced && held.length >= 12) {
      const length = held.readUInt32BE(0);
      if (length < 8) break;
      const head = Buffer.alloc(12);
      head.writeUInt32BE(8 + payload.length, 0);
      head[4] = held[4]!;
      head[5] = 1;
      held.copy(head, 8, 8, 12);
      skip = Math.max(0, 4 + length - held.length);
      held = held.subarray(4 + length);
      if (socket.writable) socket.write(Buffer.concat([head, payload]));
    }
  });
}

/** Serves until `close`; `crash` ends every connection at once, as a process that dies does. */
export async function serveNull(server: NullServer): Promise<{ port: number; close(): Promise<void> }> {
  const sockets = new Set<net.Socket>();
  const crash = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const listener = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
    server.onConnection(socket, crash);
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  return {
    port: (listener.address() as net.AddressInfo).port,
    async close() {
      crash();
      await new Promise<void>((resolve) => listener.close(() => resolve()));
    },
  };
}
