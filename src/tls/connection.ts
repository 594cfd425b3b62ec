// One client connection: moves bytes between a socket and its Session. One socket write per turn,
// one outstanding at a time, so that a slow reader holds back only its own output; everything that
// is decided about the protocol is decided in the Session.
import type { Socket } from 'node:net';
import type { ErrorCode } from '../wire/errors.ts';
import type { Session, SessionHost } from '../wire/session/ports.ts';
import type { Turn } from './turn.ts';

/** Bytes given to the socket per write. TLS encrypts on the main thread, so its turns are shorter. */
const PLAIN_WRITE_SIZE_MAX = 1024 * 1024;
const TLS_WRITE_SIZE_MAX = 256 * 1024;

export interface ConnectionPorts {
  readonly turn: Turn;
  /** Milliseconds of a clock that never goes back. */
  monotonicMs(): number;
  closed(connection: Connection): void;
}

export class Connection implements SessionHost {
  private readonly socket: Socket;
  private readonly ports: ConnectionPorts;
  private readonly writeSizeMax: number;
  private session: Session | null = null;
  private flushScheduled = false;
  private writing = false;
  /** The session wants no input; the node wants none from anybody. */
  private sessionPaused = false;
  private nodePaused = false;
  private finishing = false;
  private finSent = false;
  private writingBytes = 0;

  constructor(socket: Socket, encrypted: boolean, ports: ConnectionPorts) {
    this.socket = socket;
    this.ports = ports;
    this.writeSizeMax = encrypted ? TLS_WRITE_SIZE_MAX : PLAIN_WRITE_SIZE_MAX;
  }

  /** Begins to move bytes. Call once. */
  start(session: Session): void {
    this.session = session;
    this.socket.on('data', this.onData);
    this.socket.on('end', () => session.peerEnded(this.ports.monotonicMs()));
    this.socket.on('close', this.onClose);
    if (!this.nodePaused) this.socket.resume();
    // The listener's look at the first byte makes the stream flow in the next tick, wanted or not.
    else process.nextTick(() => this.setNodePaused(this.nodePaused));
  }

  /** Deadlines: called a few times a second, after the poll phase. */
  tick(nowMs: number): void {
    this.session?.tick(nowMs, !this.nodePaused);
  }

  /** Everything is said, the FIN too: only the peer's is still out. */
  get finished(): boolean {
    return this.finSent;
  }

  outputReady(): void {
    if (this.flushScheduled) return;
    this.flushScheduled = true;
    this.ports.turn.flushLater(this);
  }

  pauseReading(): void {
    this.sessionPaused = true;
    this.socket.pause();
  }

  resumeReading(): void {
    this.sessionPaused = false;
    if (!this.nodePaused) this.socket.resume();
  }

  /** Too much waits for the disk, over all connections: nothing is read until it is written. */
  setNodePaused(paused: boolean): void {
    this.nodePaused = paused;
    if (this.session === null) return;
    if (paused) this.socket.pause();
    else if (!this.sessionPaused) this.socket.resume();
  }

  /** Ends the session politely (SHUTTING_DOWN) or at once (a fatal code). */
  goAway(code: ErrorCode, message: string): void {
    this.session?.goAway(code, message);
  }

  finish(): void {
    this.finishing = true;
    // Input goes on to the session, which discards it and decides when enough was drained.
    this.outputReady();
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** End of the turn: lets the session go on parsing, then writes what there is. */
  flush(): void {
    this.flushScheduled = false;
    const session = this.session;
    if (session === null || this.socket.destroyed) return;
    session.turnEnd();
    if (this.writing || this.finSent) return;
    const chunks = session.takeOutput(this.writeSizeMax);
    if (chunks.length === 0) {
      if (this.finishing && !this.finSent) {
        this.finSent = true;
        this.socket.end();
      }
      return;
    }
    this.write(chunks);
  }

  private write(chunks: Buffer[]): void {
    this.writing = true;
    let bytes = 0;
    for (const chunk of chunks) bytes += chunk.length;
    this.writingBytes = bytes;
    if (chunks.length === 1) {
      this.socket.write(chunks[0]!, this.onWritten);
      return;
    }
    // Corked writes leave as one writev, or as one run of TLS records.
    this.socket.cork();
    for (let i = 0; i < chunks.length - 1; i++) this.socket.write(chunks[i]!);
    this.socket.write(chunks[chunks.length - 1]!, this.onWritten);
    this.socket.uncork();
  }

  private readonly onWritten = (error?: Error | null): void => {
    this.writing = false;
    if (error) return;
    this.session?.written(this.writingBytes);
    // More may wait than one write took, and a finished session still owes its FIN.
    this.outputReady();
  };

  private readonly onData = (chunk: Buffer): void => {
    this.session!.receive(chunk, this.ports.monotonicMs());
  };

  private readonly onClose = (): void => {
    this.session?.peerClosed();
    this.session = null;
    this.ports.closed(this);
  };
}
