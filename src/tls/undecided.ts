// Connections that have not yet said what they are: accepted, in a TLS handshake, or silent. They
// have one deadline for all of that together (docs/protocol.md, SL-PRE-14), and when there is no room
// left they are the first to go: whoever says nothing makes way for whoever does.
// Invariant: insertion order is age order, so the first one is the oldest.
import type { Socket } from 'node:net';

/** From the connection's beginning to the end of its preface, TLS handshake included. */
export const UNDECIDED_MS = 5_000;

export class Undecided {
  private readonly sinceMs = new Map<Socket, number>();

  /** Starts the deadline of an accepted socket; ends by itself when the socket closes. */
  add(socket: Socket, nowMs: number): void {
    this.sinceMs.set(socket, nowMs);
    socket.once('close', () => this.sinceMs.delete(socket));
  }

  /** The socket has said what it is; returns when it was accepted. */
  decide(socket: Socket, nowMs: number): number {
    const since = this.sinceMs.get(socket) ?? nowMs;
    this.sinceMs.delete(socket);
    return since;
  }

  /** Closes the oldest one to make room. False when there is none. */
  evictOldest(): boolean {
    for (const socket of this.sinceMs.keys()) {
      this.sinceMs.delete(socket);
      socket.destroy();
      return true;
    }
    return false;
  }

  tick(nowMs: number): void {
    for (const [socket, since] of this.sinceMs) {
      if (nowMs - since < UNDECIDED_MS) return;
      socket.destroy();
    }
  }

  destroyAll(): void {
    for (const socket of this.sinceMs.keys()) socket.destroy();
  }
}
