// For tests of a hostile port: raw sockets, sessions made of raw bytes, and a bystander whose life must
// go on undisturbed.
import { connect as connectTcp } from 'node:net';
import type { Socket } from 'node:net';
import * as assert from 'uvu/assert';
import { connect } from '../../src/wire/client/client.ts';
import type { Client } from '../../src/wire/client/client.ts';
import { residentBytes } from '../support/sidecar.ts';
import type { Server } from '../support/sidecar.ts';
import { hello, PREFACE } from '../session/support.ts';

/** Never idle: the test decides when a connection ends. */
export const FOR_EVER = 0xffff_ffff;

export function open(server: Server): Promise<Socket> {
  return new Promise((done, fail) => {
    const socket = connectTcp({ port: server.port, host: '127.0.0.1', noDelay: true });
    socket.once('connect', () => {
      socket.removeListener('error', fail);
      socket.on('error', () => undefined);
      done(socket);
    });
    socket.once('error', fail);
  });
}

/** A raw connection that has said HELLO and heard the answer. */
export async function openSession(server: Server): Promise<Socket> {
  const socket = await open(server);
  socket.write(Buffer.concat([PREFACE, hello({ idleMs: FOR_EVER })]));
  let heard = 0;
  await new Promise<void>((done) => {
    const listen = (chunk: Buffer): void => {
      heard += chunk.length;
      if (heard <= 8 + 12) return;
      socket.removeListener('data', listen);
      done();
    };
    socket.on('data', listen);
  });
  return socket;
}

/** All bytes until the server closes. */
export function untilClosed(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  return new Promise((done) => {
    if (socket.destroyed) done(Buffer.concat(chunks));
    else socket.once('close', () => done(Buffer.concat(chunks)));
  });
}

/** An ordinary client that was there before, and one that comes after. */
export class Bystander {
  readonly latenciesMs: number[] = [];
  private readonly server: Server;
  private readonly client: Client;
  private readonly log: string;
  private next = 0;
  private watching: Promise<void> | null = null;
  private stopped = false;

  private constructor(server: Server, client: Client, log: string) {
    this.server = server;
    this.client = client;
    this.log = log;
  }

  static async arrive(server: Server, log: string): Promise<Bystander> {
    const client = await connect({ address: server.address });
    await client.logs.create(log);
    return new Bystander(server, client, log);
  }

  /** Produces and reads back, over the old connection and over a new one. */
  async check(): Promise<void> {
    await this.step();
    const fresh = await connect({ address: this.server.address, connectTimeoutMs: 5000 });
    const { records } = await fresh.fetch(this.log, { from: { offset: this.next - 1 }, linearizable: true });
    assert.is(String(records[0]!.value), String(this.next - 1));
    await fresh.close();
  }

  /** Begins to write and read again and again, until `calm`. */
  watch(): void {
    this.latenciesMs.length = 0;
    this.stopped = false;
    this.watching = (async () => {
      while (!this.stopped) {
        const began = performance.now();
        await this.step();
        this.latenciesMs.push(performance.now() - began);
        await new Promise((done) => setTimeout(done, 5));
      }
    })();
  }

  /** Ends the watch; returns the middle and the worst time of a write that was acked and read back. */
  async calm(): Promise<{ median: number; worst: number }> {
    this.stopped = true;
    await this.watching;
    this.latenciesMs.sort((a, b) => a - b);
    return { median: this.latenciesMs[this.latenciesMs.length >> 1]!, worst: this.latenciesMs.at(-1)! };
  }

  leave(): Promise<void> {
    return this.client.close();
  }

  private async step(): Promise<void> {
    const { baseOffset } = await this.client.produce(this.log, { value: Buffer.from(String(this.next)) });
    assert.is(baseOffset, this.next);
    const { records } = await this.client.fetch(this.log, { from: { offset: this.next } });
    assert.is(String(records[0]!.value), String(this.next));
    this.next++;
  }
}

/** Runs `attack` and fails when the server's memory has grown by more than `limitBytes` at its end. */
export async function boundedMemory(server: Server, limitBytes: number, attack: () => Promise<void>): Promise<void> {
  const before = residentBytes(server.pid);
  await attack();
  const after = residentBytes(server.pid);
  if (before === null || after === null) return;
  const grown = after - before;
  assert.ok(grown <= limitBytes, `the server grew by ${(grown / 1024 / 1024).toFixed(1)} MiB, at most ${(limitBytes / 1024 / 1024).toFixed(1)} were allowed`);
}
