// A fake server for tests of clients: answers well out of a MockStore, does what the script's rules
// say, and reports as events what the client sent, with what the client did wrong.
import * as net from 'node:net';
import { DecodeError, decodeRequest } from '../wire/codec.ts';
import { FLAG_MORE, FLAG_RESPONSE, FrameSplitter } from '../wire/frame.ts';
import type { Frame } from '../wire/frame.ts';
import { opName } from '../wire/layouts.ts';
import type { OpName } from '../wire/layouts.ts';
import { answerFields, errorFrame, goawayFrame, okFrame, printable } from './answers.ts';
import { MockRead } from './read.ts';
import { Rulebook } from './script.ts';
import type { Rule, Script } from './script.ts';
import { MockStore } from './store.ts';

export interface MockEvent {
  readonly event: 'listening' | 'connection' | 'request' | 'rule' | 'violation' | 'end';
  readonly [key: string]: unknown;
}

type Fields = Record<string, unknown>;

const HELLO = {
  minor: 0, max_frame: 4 << 20, idle_ms: 0xffff_ffff, features: 0n, node: 'mock', max_batch: 1 << 20, max_inflight: 1024, auth_required: 0,
  server: 'sidelog-mock', auth_mechs: [],
};
const GOOD_PREFACE = Buffer.from('fa534c4743010000', 'hex');
/** Frames about an open request, or about the connection: they open no id. */
const ABOUT: readonly OpName[] = ['CREDIT', 'CANCEL', 'GOAWAY'];

export class MockServer {
  readonly store = new MockStore();
  readonly rules: Rulebook;
  readonly hello: Fields;
  readonly tell: (event: MockEvent) => void;
  private readonly server: net.Server;
  private readonly sockets = new Set<net.Socket>();
  private count = 0;

  /** @throws ScriptError when the script's answers do not fit their layouts. */
  constructor(script: Script, tell: (event: MockEvent) => void) {
    this.tell = tell;
    this.rules = new Rulebook(script.rules);
    this.hello = { ...HELLO, cluster_id: this.store.clusterId, ...answerFields('HELLO', script.hello) };
    for (const { on, answer } of script.rules) if (answer !== undefined && on !== 'accept' && on !== 'preface') answerFields(on, answer);
    this.server = net.createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket));
      new MockConnection(this, socket, ++this.count);
    });
  }

  async listen(port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(port, '127.0.0.1', resolve);
    });
    const address = this.server.address() as net.AddressInfo;
    this.tell({ event: 'listening', port: address.port });
    return address.port;
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }
}

class MockConnection {
  private readonly mock: MockServer;
  private readonly socket: net.Socket;
  private readonly number: number;
  private readonly splitter = new FrameSplitter();
  private readonly reads = new Map<number, MockRead>();
  private readonly openIds = new Set<number>();
  private first: Buffer = Buffer.alloc(0);
  private isPrefaced = false;
  private saidHello = false;

  constructor(mock: MockServer, socket: net.Socket, number: number) {
    this.mock = mock;
    this.socket = socket;
    this.number = number;
    this.tell('connection');
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => this.received(chunk));
    socket.on('end', () => socket.end());
    socket.once('close', () => {
      for (const read of this.reads.values()) read.drop();
      this.tell('end', this.splitter.held > 0 ? { unfinished_bytes: this.splitter.held } : {});
    });
    const rule = this.rule('accept');
    if (rule !== null) this.obey(rule, null, null, () => []);
  }

  private received(chunk: Buffer): void {
    if (this.isPrefaced) this.splitter.push(chunk);
    else {
      this.first = Buffer.concat([this.first, chunk]);
      if (this.first.length < 8) return;
      this.preface(this.first.subarray(0, 8));
      this.splitter.push(this.first.subarray(8));
    }
    try {
      for (let frame = this.splitter.next(); frame !== null; frame = this.splitter.next()) this.frame(frame);
    } catch (error) {
      this.violation(`the stream cannot be cut into frames: ${(error as Error).message}`);
      this.socket.destroy();
    }
  }

  private preface(bytes: Buffer): void {
    this.isPrefaced = true;
    if (!bytes.subarray(0, 5).equals(GOOD_PREFACE.subarray(0, 5)) || bytes[6]! > 1 || bytes[5]! < 1) this.violation(`the preface ${bytes.toString('hex')}`);
    const rule = this.rule('preface');
    if (rule === null) this.socket.write(GOOD_PREFACE);
    else this.obey(rule, null, null, () => [GOOD_PREFACE]);
  }

  private frame(frame: Frame): void {
    const name = opName(frame.op);
    if ((frame.flags & FLAG_RESPONSE) !== 0) return; // the mock asks nothing, so it answers nothing
    this.judge(frame, name);
    if (name === undefined || name === 'DELIVER') return this.send([errorFrame(frame.op, frame.id, 'UNKNOWN_OP', {})]);
    let fields: Fields;
    try {
      fields = decodeRequest(name, frame.payload);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.violation(`${name} ${frame.id}: ${error.message}`);
      return this.send([errorFrame(frame.op, frame.id, 'INVALID_ARGUMENT', { field: error.field })]);
    }
    this.tell('request', { op: name, id: frame.id, fields: printable(fields) });
    const rule = this.rule(name, typeof fields['log'] === 'string' ? fields['log'] : undefined);
    if (rule === null) return this.send(this.good(frame, name, fields, {}));
    this.tell('rule', { op: name, id: frame.id, rule });
    const change = rule.answer === undefined ? {} : answerFields(name, rule.answer);
    this.obey(rule, frame, name, () => this.good(frame, name, fields, change));
  }

  /** What a client must not do, whatever it is answered. */
  private judge(frame: Frame, name: OpName | undefined): void {
    const what = `${name ?? `op ${frame.op.toString(16)}`} ${frame.id}`;
    if ((frame.flags & 0x3c) !== 0) this.violation(`${what}: flags ${frame.flags.toString(16)}`);
    if (frame.status !== 0) this.violation(`${what}: a request with status ${frame.status}`);
    if (frame.id === 0 && name !== 'GOAWAY') this.violation(`${what}: only GOAWAY has the id 0`);
    if ((name === 'HELLO') === this.saidHello) this.violation(`${what}: HELLO comes first, and once`);
    this.saidHello = true;
    if (name !== undefined && ABOUT.includes(name)) return;
    if (this.openIds.has(frame.id)) this.violation(`${what}: this id is still open`);
    this.openIds.add(frame.id);
  }

  /** The frames of a good answer; reads send theirs themselves. */
  private good(frame: Frame, name: OpName, fields: Fields, change: Fields): Buffer[] {
    switch (name) {
      case 'GOAWAY': this.socket.end(); return [];
      case 'CANCEL': this.reads.get(frame.id)?.end('CANCELED'); return [];
      case 'CREDIT': this.reads.get(frame.id)?.credit(fields['add_bytes'] as number); return [];
      case 'HELLO': return [okFrame(name, frame.id, { ...this.mock.hello, ...change })];
      case 'FETCH': case 'SUBSCRIBE': {
        const read = new MockRead(this.mock.store.log(String(fields['log'])), name, frame.id, fields, change, (bytes, isLast) => {
          if (isLast) this.reads.delete(frame.id);
          this.send([bytes]);
        });
        this.reads.set(frame.id, read);
        read.step();
        return [];
      }
      default: {
        const answer = this.mock.store.answer(name, fields);
        return ['error' in answer ? errorFrame(frame.op, frame.id, answer.error, {}) : okFrame(name, frame.id, { ...answer.fields, ...change })];
      }
    }
  }

  private obey(rule: Rule, frame: Frame | null, name: OpName | null, good: () => Buffer[]): void {
    const act = (): void => {
      if (this.socket.destroyed) return;
      const instead = this.instead(rule, frame);
      if (instead === null || rule.effect === true) {
        const frames = good();
        if (instead === null) this.send(rule.twice === true ? [...frames, ...frames] : frames);
      }
      if (instead !== null) this.send(rule.twice === true ? [...instead, ...instead] : instead);
      if (rule.goaway !== undefined && rule.grace_ms === undefined && name !== null) this.socket.end();
      if (rule.close === 'fin') this.socket.end();
      if (rule.close === 'reset') this.socket.resetAndDestroy();
    };
    if (rule.delay_ms === undefined) act();
    else setTimeout(act, rule.delay_ms);
  }

  /** What goes out in place of the good answer; null = the good answer. */
  private instead(rule: Rule, frame: Frame | null): Buffer[] | null {
    if (rule.hex !== undefined) return [Buffer.from(rule.hex, 'hex')];
    if (rule.goaway !== undefined) return [goawayFrame(rule.goaway, rule.message ?? 'by the script', rule.grace_ms ?? 0)];
    if (rule.error !== undefined && frame !== null) return [errorFrame(frame.op, frame.id, rule.error, rule)];
    return rule.drop === true || rule.close !== undefined ? [] : null;
  }

  private send(frames: readonly Buffer[]): void {
    for (const bytes of frames) {
      if (!this.socket.writable) return;
      if (bytes.length >= 12 && (bytes[5]! & FLAG_MORE) === 0) this.openIds.delete(bytes.readUInt32BE(8));
      this.socket.write(bytes);
    }
  }

  private rule(on: Rule['on'], log?: string): Rule | null {
    return this.mock.rules.take(on, this.number, log);
  }

  private violation(text: string): void {
    this.tell('violation', { text });
  }

  private tell(event: MockEvent['event'], more: Fields = {}): void {
    this.mock.tell({ event, connection: this.number, ...more });
  }
}
