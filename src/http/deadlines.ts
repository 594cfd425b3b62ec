// Deadlines of HTTP connections. node:http's own run only in a server that listens itself, and ours
// gets its sockets from the mux; so each connection has to send a whole request, and take a whole
// answer, within the time given here, or it is closed. Drips of bytes do not extend it.
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** From a connection's beginning, or the last answer's end, to the next request; and from there to its end. */
export const HTTP_STEP_MS = 10_000;

export class HttpDeadlines {
  private readonly sinceMs = new Map<Socket, number>();

  /** Watches every connection that `server` gets from now on. */
  constructor(server: Server, nowMs: () => number) {
    server.on('connection', (socket: Socket) => {
      this.sinceMs.set(socket, nowMs());
      socket.once('close', () => this.sinceMs.delete(socket));
    });
    server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
      this.step(socket, nowMs());
      response.once('finish', () => this.step(socket, nowMs()));
    });
  }

  /** Open HTTP connections. */
  get size(): number {
    return this.sinceMs.size;
  }

  tick(nowMs: number): void {
    for (const [socket, since] of this.sinceMs) {
      if (nowMs - since >= HTTP_STEP_MS) socket.destroy();
    }
  }

  private step(socket: Socket, nowMs: number): void {
    if (this.sinceMs.has(socket)) this.sinceMs.set(socket, nowMs);
  }
}
