// A proxy between suite and server that can change what goes through: with no mutation it is
// invisible, with one it makes any server wrong in one way. It follows both directions frame by frame,
// passes on at once what a mutation does not care for, and keeps back-pressure.
import * as net from 'node:net';
import type { Endpoint } from '../net/conn.ts';
import { FLAG_MORE, FLAG_RESPONSE, FRAME_HEADER_SIZE } from '../wire/frame.ts';
import type { Frame } from '../wire/frame.ts';

export interface Asked {
  readonly op: number;
  readonly payload: Buffer;
}

/** One connection through the proxy. */
export interface Link {
  /** Requests of the client that have no last answer yet. */
  readonly open: Map<number, Asked>;
  /** What a mutation wants to remember on this connection. */
  readonly memory: Map<string, unknown>;
  readonly proxy: Proxy;
  toClient(bytes: Buffer): void;
  toServer(bytes: Buffer): void;
  /** FIN to the client. */
  endClient(): void;
  /** Both sides at once. */
  destroy(): void;
  /** Sends this and closes; with bytes of the client unread (`stopReading`) that is a reset. */
  resetClient(last: Buffer): void;
  stopReading(): void;
}

/** Hooks that return null leave things as they are. */
export interface Mutation {
  accepted?(link: Link): void;
  /** First bytes of a connection that is no preface (HTTP, TLS, garbage). */
  rawRequest?(bytes: Buffer, link: Link): Buffer | null;
  rawAnswer?(bytes: Buffer, link: Link): Buffer | null;
  preface?(bytes: Buffer, link: Link): Buffer | null;
  prefaceAnswer?(bytes: Buffer, link: Link): Buffer | null;
  /** Bytes of the preface as they come, before there are eight. */
  firstBytes?(bytes: Buffer, link: Link): void;
  /** What goes to the server instead of this frame; null = the frame as it is. */
  request?(frame: Frame, link: Link): Buffer[] | null;
  /** What goes to the client instead of this frame. `asked` is the request, if there is one. */
  answer?(frame: Frame, link: Link, asked: Asked | undefined): Buffer[] | null;
  /** True = the client is not told that the server ended. */
  serverEnded?(link: Link): boolean;
  /** True = handled. */
  clientEnded?(link: Link): boolean;
  /** A chunk from the client after the preface, as it came. */
  chunk?(bytes: Buffer, link: Link): void;
  /** A header whose frame is impossible: true = swallow it. */
  broken?(header: Buffer, link: Link): boolean;
  /** Never stop reading, whatever the other side takes. */
  readonly buffersAll?: boolean;
}

/** A larger length is passed on without waiting for the payload. */
const LENGTH_MAX = 70 * 1024 * 1024;
/** GOAWAY, CANCEL, CREDIT open no id. */
const ABOUT_OPS = [0x04, 0x05, 0x32];

export class Proxy {
  readonly links = new Set<ProxyLink>();
  private readonly target: () => Endpoint;
  private readonly mutation: Mutation;
  private readonly server: net.Server;

  constructor(target: () => Endpoint, mutation: Mutation) {
    this.target = target;
    this.mutation = mutation;
    this.server = net.createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
      this.links.add(new ProxyLink(this, client, this.target(), this.mutation));
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return (this.server.address() as net.AddressInfo).port;
  }

  async close(): Promise<void> {
    for (const link of this.links) link.destroy();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }
}

type Phase = 'first' | 'preface' | 'frames' | 'raw';

class ProxyLink implements Link {
  readonly open = new Map<number, Asked>();
  readonly memory = new Map<string, unknown>();
  readonly proxy: Proxy;
  private readonly client: net.Socket;
  private readonly upstream: net.Socket;
  private readonly mutation: Mutation;
  private phase: Phase = 'first';
  private prefaceDone = false;
  private fromClient: Buffer = Buffer.alloc(0);
  private fromServer: Buffer = Buffer.alloc(0);
  /** The request that the frame now in hand answers. */
  private asked: Asked | undefined;
  private readonly clientCut: Cutter;
  private readonly serverCut: Cutter;

  constructor(proxy: Proxy, client: net.Socket, target: Endpoint, mutation: Mutation) {
    this.proxy = proxy;
    this.client = client;
    this.mutation = mutation;
    this.upstream = net.connect({ host: target.host, port: target.port, allowHalfOpen: true, noDelay: true, localAddress: client.remoteAddress });
    const { request, answer } = mutation;
    this.clientCut = new Cutter({
      seen: (frame) => this.requestSeen(frame),
      change: request ? (frame) => request(frame, this) : null,
      pass: (bytes) => this.toServer(bytes),
      broken: mutation.broken === undefined ? null : (header) => mutation.broken!(header, this),
    });
    this.serverCut = new Cutter({
      seen: (frame) => this.answerSeen(frame),
      change: answer ? (frame) => answer(frame, this, this.asked) : null,
      pass: (bytes) => this.toClient(bytes),
      broken: null,
    });
    this.wire();
    mutation.accepted?.(this);
  }

  toClient(bytes: Buffer): void {
    if (!this.client.writable || bytes.length === 0) return;
    if (!this.client.write(bytes) && !this.mutation.buffersAll) this.upstream.pause();
  }

  toServer(bytes: Buffer): void {
    if (!this.upstream.writable || bytes.length === 0) return;
    if (!this.upstream.write(bytes) && !this.mutation.buffersAll) this.client.pause();
  }

  endClient(): void {
    this.client.end();
  }

  resetClient(last: Buffer): void {
    this.upstream.removeAllListeners('end');
    this.client.write(last, () => this.destroy());
  }

  stopReading(): void {
    this.client.pause();
  }

  destroy(): void {
    this.client.destroy();
    this.upstream.destroy();
    this.proxy.links.delete(this);
  }

  private wire(): void {
    this.client.on('data', (chunk: Buffer) => this.clientData(chunk));
    this.upstream.on('data', (chunk: Buffer) => this.serverData(chunk));
    this.client.on('drain', () => this.upstream.resume());
    this.upstream.on('drain', () => this.client.resume());
    this.client.on('end', () => {
      this.toServer(this.clientCut.rest());
      if (!(this.mutation.clientEnded?.(this) ?? false)) this.upstream.end();
    });
    this.upstream.on('end', () => {
      this.toClient(this.serverCut.rest());
      if (!(this.mutation.serverEnded?.(this) ?? false)) this.client.end();
    });
    this.client.on('error', () => this.upstream.resetAndDestroy());
    this.upstream.on('error', () => this.client.resetAndDestroy());
    this.client.on('close', () => this.destroy());
  }

  private clientData(chunk: Buffer): void {
    if (this.phase === 'first') this.phase = chunk[0] === 0xfa ? 'preface' : 'raw';
    if (this.phase === 'raw') {
      this.toServer(this.mutation.rawRequest?.(chunk, this) ?? chunk);
      return;
    }
    if (this.phase === 'frames') {
      this.mutation.chunk?.(chunk, this);
      this.clientCut.push(chunk);
      return;
    }
    this.fromClient = Buffer.concat([this.fromClient, chunk]);
    this.mutation.firstBytes?.(this.fromClient, this);
    const isPreface = Buffer.from([0xfa, 0x53, 0x4c, 0x47]).subarray(0, this.fromClient.length).equals(this.fromClient.subarray(0, 4));
    if (!isPreface && this.mutation.preface === undefined) {
      this.phase = 'raw';
      this.toServer(this.fromClient);
      return;
    }
    if (this.fromClient.length < 8 && this.mutation.preface === undefined) {
      this.toServer(chunk); // passed on byte by byte, as it came
      return;
    }
    if (this.fromClient.length < 8) return;
    const preface = this.fromClient.subarray(0, 8);
    const rest = this.fromClient.subarray(8);
    this.phase = 'frames';
    const passed = this.fromClient.length - chunk.length; // already passed on, when nobody wanted to see it
    if (this.mutation.preface === undefined) this.toServer(preface.subarray(passed));
    else this.toServer(this.mutation.preface(preface, this) ?? preface);
    if (rest.length === 0) return;
    this.mutation.chunk?.(rest, this);
    if (this.memory.get('drop first chunk') !== true) this.clientCut.push(rest);
  }

  private serverData(chunk: Buffer): void {
    if (this.phase === 'raw' || this.phase === 'first') {
      this.toClient(this.mutation.rawAnswer?.(chunk, this) ?? chunk);
      return;
    }
    if (this.prefaceDone) {
      this.serverCut.push(chunk);
      return;
    }
    this.fromServer = Buffer.concat([this.fromServer, chunk]);
    if (this.fromServer.length < 8) return;
    const preface = this.fromServer.subarray(0, 8);
    const rest = this.fromServer.subarray(8);
    this.prefaceDone = true;
    this.toClient(this.mutation.prefaceAnswer?.(preface, this) ?? preface);
    if (rest.length > 0) this.serverCut.push(rest);
  }

  private requestSeen(frame: Frame): void {
    if ((frame.flags & FLAG_RESPONSE) !== 0 || ABOUT_OPS.includes(frame.op) || this.open.has(frame.id)) return;
    this.open.set(frame.id, { op: frame.op, payload: frame.payload });
  }

  private answerSeen(frame: Frame): void {
    const isAnswer = (frame.flags & FLAG_RESPONSE) !== 0;
    this.asked = isAnswer ? this.open.get(frame.id) : undefined;
    if (isAnswer && (frame.flags & FLAG_MORE) === 0) this.open.delete(frame.id);
  }
}

/** Cuts one direction into frames; when nobody wants to change them, passes the bytes on as they come. */
class Cutter {
  private readonly seen: (frame: Frame) => void;
  private readonly change: ((frame: Frame) => Buffer[] | null) | null;
  private readonly pass: (bytes: Buffer) => void;
  private readonly broken: ((header: Buffer) => boolean) | null;
  private held: Buffer = Buffer.alloc(0);
  private lost = false;
  /** Bytes of the frame at the front that were passed on already. */
  private passed = 0;

  constructor(parts: { seen: (frame: Frame) => void; change: ((frame: Frame) => Buffer[] | null) | null; pass: (bytes: Buffer) => void; broken: ((header: Buffer) => boolean) | null }) {
    this.seen = parts.seen;
    this.change = parts.change;
    this.pass = parts.pass;
    this.broken = parts.broken;
  }

  push(chunk: Buffer): void {
    if (this.lost) {
      this.pass(chunk);
      return;
    }
    // Nobody changes anything: all goes on in the pieces in which it came, a header without its payload too.
    if (this.isPlain) this.pass(chunk);
    this.held = this.held.length === 0 ? chunk : Buffer.concat([this.held, chunk]);
    while (this.held.length >= FRAME_HEADER_SIZE) {
      const length = this.held.readUInt32BE(0);
      if (length < 8 || length > LENGTH_MAX) return this.lose();
      if (this.held.length < 4 + length) break;
      const whole = this.held.subarray(0, 4 + length);
      this.held = this.held.subarray(4 + length);
      this.take(whole, length);
    }
    if (this.change !== null || this.isPlain || this.held.length === this.passed) return;
    // A header without its payload must reach the server, which judges it at once.
    this.pass(this.held.subarray(this.passed));
    this.passed = this.held.length;
  }

  private get isPlain(): boolean {
    return this.change === null && this.broken === null;
  }

  /** What is left when the stream ends. */
  rest(): Buffer {
    const rest = this.isPlain ? Buffer.alloc(0) : this.held.subarray(this.passed);
    this.held = Buffer.alloc(0);
    this.passed = 0;
    return rest;
  }

  private take(whole: Buffer, length: number): void {
    const frame: Frame = { op: whole[4]!, flags: whole[5]!, status: whole.readUInt16BE(6), id: whole.readUInt32BE(8), payload: whole.subarray(12), length };
    this.seen(frame);
    if (this.isPlain) return;
    const changed = this.change?.(frame) ?? null;
    if (changed === null) this.pass(whole.subarray(this.passed));
    else for (const bytes of changed) this.pass(bytes);
    this.passed = 0;
  }

  private lose(): void {
    if (this.broken?.(this.held) === true) {
      this.held = Buffer.alloc(0);
      return;
    }
    this.lost = true;
    if (!this.isPlain) this.pass(this.held.subarray(this.passed));
    this.held = Buffer.alloc(0);
  }
}
