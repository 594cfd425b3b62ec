// One connection to the target, over TCP or TLS: writes bytes whole or one by one, cuts what comes
// into frames, and lets a case wait for what it needs. Judges nothing but that the stream can be cut.
// Invariant: every received frame is either in `inbox` or was handed to exactly one waiter.
import * as net from 'node:net';
import * as tls from 'node:tls';
import { Failure, HarnessError } from '../engine/failure.ts';
import { FrameSplitter } from '../wire/frame.ts';
import type { Frame } from '../wire/frame.ts';
import { Trace } from './trace.ts';

export interface Endpoint {
  readonly host: string;
  readonly port: number;
  /** The address to come from. */
  readonly localAddress?: string;
}

export interface DialOptions {
  readonly tls?: tls.ConnectionOptions;
  readonly label?: string;
  readonly began?: number;
  /** How long a dial, and every wait without a time of its own, may take. */
  readonly patienceMs: number;
  /** `bytes`: every byte of up to 4 KiB in a write of its own. */
  readonly bytewise?: boolean;
}

interface Waiter {
  readonly what: string;
  poll(): boolean;
  fail(error: Error): void;
}

/** Bytes of a write that go one by one; the rest follows in pieces. */
const BYTEWISE_MAX = 4096;

export class Conn {
  readonly socket: net.Socket;
  readonly trace: Trace;
  readonly patienceMs: number;
  /** Bytes received and not consumed, as long as `framing` is off. */
  raw: Buffer = Buffer.alloc(0);
  readonly inbox: Frame[] = [];
  framing = false;
  /** How the server's side ended. */
  ended: 'fin' | 'reset' | null = null;
  /** A read or write failed, perhaps after the server's FIN: it did not take all that was sent. */
  failed = false;
  receivedBytes = 0;
  onFrame: ((frame: Frame) => void) | null = null;
  private readonly bytewise: boolean;
  private readonly splitter = new FrameSplitter();
  private waiters: Waiter[] = [];
  private writing: Promise<void> = Promise.resolve();
  /** Writes that the kernel has not taken yet, and who waits for them. */
  private unsent = 0;
  private readonly whenSent: (() => void)[] = [];
  private broken: Error | null = null;
  /** We ended it, since the case is over. */
  private isOver = false;

  private constructor(socket: net.Socket, options: DialOptions) {
    this.socket = socket;
    this.patienceMs = options.patienceMs;
    this.bytewise = options.bytewise ?? false;
    this.trace = new Trace(options.label ?? 'connection', options.began ?? performance.now());
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.received(chunk));
    socket.on('end', () => this.over('fin'));
    socket.on('error', () => {
      this.failed = true;
      this.over('reset');
    });
    socket.on('close', () => this.over(this.socket.readableEnded ? 'fin' : 'reset'));
  }

  /** @throws HarnessError when nobody listens, Failure when the TLS handshake fails. */
  static dial(endpoint: Endpoint, options: DialOptions): Promise<Conn> {
    return new Promise((resolve, reject) => {
      const address = { host: endpoint.host, port: endpoint.port, localAddress: endpoint.localAddress, allowHalfOpen: true };
      const where = `${endpoint.host}:${endpoint.port}`;
      const socket = options.tls ? tls.connect({ ...address, ...options.tls } as tls.ConnectionOptions) : net.connect(address);
      let isConnected = false;
      socket.once('connect', () => {
        isConnected = true;
      });
      const fail = (why: string): void => {
        clearTimeout(timer);
        socket.destroy();
        // Once TCP stands, what goes wrong is the server's doing.
        if (isConnected) reject(new Failure('the TLS handshake', 'a handshake that succeeds', why));
        else reject(new HarnessError(`cannot connect to ${where}: ${why}`));
      };
      const timer = setTimeout(() => fail(`nothing in ${options.patienceMs} ms`), options.patienceMs);
      const onError = (error: Error): void => fail(error.message);
      const onClose = (): void => fail('closed');
      socket.once('error', onError);
      socket.once('close', onClose);
      socket.once(options.tls ? 'secureConnect' : 'connect', () => {
        clearTimeout(timer);
        socket.off('error', onError);
        socket.off('close', onClose);
        resolve(new Conn(socket, options));
      });
    });
  }

  /** Sends bytes as they are; `framed` is for the trace only. */
  write(bytes: Buffer, framed = false): void {
    this.trace.bytes('>', bytes, framed);
    if (!this.bytewise) {
      this.send(bytes);
      return;
    }
    this.writing = this.writing.then(() => this.trickle(bytes));
  }

  /** Resolves when all that was written has been handed to the kernel. */
  async flushed(): Promise<void> {
    await this.writing;
    if (this.unsent === 0 || this.socket.destroyed) return;
    await new Promise<void>((resolve) => {
      this.whenSent.push(resolve);
      this.socket.once('close', resolve);
    });
  }

  private send(bytes: Buffer): void {
    this.unsent++;
    this.socket.write(bytes, () => {
      if (--this.unsent > 0) return;
      for (const resolve of this.whenSent.splice(0)) resolve();
    });
  }

  /** Half-closes: the server sees the end of the stream and can still answer. */
  async end(): Promise<void> {
    await this.writing;
    this.trace.note('we close our sending side');
    this.socket.end();
  }

  destroy(): void {
    this.isOver = true;
    this.socket.destroy();
  }

  /** Resets the connection: the server sees an error. */
  reset(): void {
    this.trace.note('we reset the connection');
    if (this.socket instanceof tls.TLSSocket) this.socket.destroy();
    else this.socket.resetAndDestroy();
  }

  startFraming(): void {
    if (this.framing) return;
    this.framing = true;
    const held = this.raw;
    this.raw = Buffer.alloc(0);
    if (held.length === 0) return;
    this.trace.withdraw(held.length);
    this.cut(held);
  }

  /** Takes exactly `size` raw bytes; for the preface and HTTP. */
  async takeRaw(size: number, what: string, ms = this.patienceMs): Promise<Buffer> {
    return this.waitFor(what, () => {
      if (this.raw.length < size) return undefined;
      const taken = this.raw.subarray(0, size);
      this.raw = this.raw.subarray(size);
      return taken;
    }, ms);
  }

  /** The first frame in the inbox that fits, as soon as it is there; the others stay. */
  takeFrame(what: string, fits: (frame: Frame) => boolean, ms = this.patienceMs): Promise<Frame> {
    return this.waitFor(what, () => {
      const at = this.inbox.findIndex(fits);
      return at < 0 ? undefined : this.inbox.splice(at, 1)[0];
    }, ms);
  }

  /** Waits until the server's side has ended; @throws Failure when it has not in time. */
  async untilEnded(ms = this.patienceMs): Promise<'fin' | 'reset'> {
    return this.waitFor('the end of the connection', () => this.ended ?? undefined, ms);
  }

  /** Resolves with the first defined result of `poll`, tried now and after everything that arrives. */
  waitFor<T>(what: string, poll: () => T | undefined, ms = this.patienceMs): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const waiter: Waiter = {
        what,
        poll: () => {
          const result = poll();
          if (result === undefined) return false;
          clearTimeout(timer);
          resolve(result);
          return true;
        },
        fail: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      };
      const timer = setTimeout(() => {
        this.waiters = this.waiters.filter((other) => other !== waiter);
        reject(new Failure(`waiting for ${what}`, what, `no reaction in ${Math.round(ms)} ms${this.inboxText()}`));
      }, ms);
      this.waiters.push(waiter);
      this.settle();
    });
  }

  private inboxText(): string {
    if (this.inbox.length === 0) return '';
    return `; ${this.inbox.length} other frames came, the last with op ${this.inbox.at(-1)!.op.toString(16)}`;
  }

  private async trickle(bytes: Buffer): Promise<void> {
    const single = Math.min(bytes.length, BYTEWISE_MAX);
    for (let at = 0; at < single && !this.socket.destroyed && this.socket.writable; at++) {
      await new Promise<void>((resolve) => this.socket.write(bytes.subarray(at, at + 1), () => setImmediate(resolve)));
    }
    if (bytes.length > single && this.socket.writable) this.send(bytes.subarray(single));
  }

  private received(chunk: Buffer): void {
    this.receivedBytes += chunk.length;
    if (this.framing) this.cut(chunk);
    else {
      this.trace.bytes('<', chunk, false);
      this.raw = Buffer.concat([this.raw, chunk]);
    }
    this.settle();
  }

  private cut(chunk: Buffer): void {
    this.splitter.push(chunk);
    try {
      for (let frame = this.splitter.next(); frame !== null; frame = this.splitter.next()) this.frameCame(frame);
    } catch (error) {
      this.broken = new Failure('cutting the stream into frames', 'frames of a possible length', (error as Error).message);
      this.socket.destroy();
    }
  }

  private frameCame(frame: Frame): void {
    this.trace.bytes('<', wholeFrame(frame), true);
    this.inbox.push(frame);
    this.onFrame?.(frame);
  }

  private over(how: 'fin' | 'reset'): void {
    if (this.ended !== null) return;
    this.ended = how;
    if (this.isOver) return this.settle();
    const rest = this.splitter.held > 0 ? ` with ${this.splitter.held} bytes of an unfinished frame` : '';
    this.trace.note(`the server ended the connection (${how === 'fin' ? 'FIN' : 'reset'})${rest}`);
    this.settle();
  }

  private settle(): void {
    this.waiters = this.waiters.filter((waiter) => !waiter.poll());
    if (this.ended === null && this.broken === null) return;
    const failed = this.waiters;
    this.waiters = [];
    for (const waiter of failed) {
      const actual = `the connection ended (${this.ended === 'fin' ? 'FIN' : 'reset'})${this.inboxText()}`;
      waiter.fail(this.broken ?? new Failure(`waiting for ${waiter.what}`, waiter.what, actual));
    }
  }
}

/** The bytes of a frame as they were on the wire. */
export function wholeFrame(frame: Frame): Buffer {
  const payload = frame.payload;
  // The header lies before the payload in the same memory: FrameSplitter cuts views.
  return Buffer.from(payload.buffer, payload.byteOffset - 12, 12 + payload.length);
}
