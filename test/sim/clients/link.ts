// A client's connection in the simulated world: the client machine that ships, on a simulated stream,
// made anew after a loss with growing pauses. Which requests to send, and what a loss means for them,
// is up to the client that owns it.
//
// Invariant: every request that was begun gets its answers or is told that it was lost.
import type { Reader as ReaderType } from '../../../src/wire/bytes.ts';
import { Reader } from '../../../src/wire/bytes.ts';
import { LocalCode, LocalError } from '../../../src/wire/client/errors.ts';
import { ClientMachine } from '../../../src/wire/client/machine.ts';
import { readErrorBody } from '../../../src/wire/error-body.ts';
import type { ProtocolError } from '../../../src/wire/errors.ts';
import type { FrameReader } from '../../../src/wire/frame.ts';
import type { Layout } from '../../../src/wire/layout.ts';
import { cancelRequest, creditRequest } from '../../../src/wire/requests-session.ts';
import { Op } from '../../../src/wire/ops.ts';
import type { Prng } from '../../support/prng.ts';
import { Violation } from '../core/failure.ts';
import type { Scheduler } from '../core/scheduler.ts';
import { TraceKind } from '../core/trace.ts';
import type { Trace } from '../core/trace.ts';
import type { Network } from '../net/network.ts';
import type { Host } from '../net/stream.ts';
import { SimSocket } from '../net/stream.ts';
import type { SimNode } from '../node/sim-node.ts';

const CONNECT_TIMEOUT_US = 800_000;
const TICK_US = 1_000_000;
const PAUSE_MIN_US = 5_000;
const PAUSE_MAX_US = 800_000;

/** What became of a request: its last answer, an error answer, or a lost connection. */
export type Outcome<A> =
  | { readonly ok: true; readonly value: A; readonly more: boolean }
  | {
      readonly ok: false;
      /** The error's code; LOST when the connection ended first. */
      readonly code: number;
      readonly error: ProtocolError;
      /** The server guarantees that the request had no effect. */
      readonly noEffect: boolean;
      readonly retriable: boolean;
    };

export const LOST = LocalCode.CONNECTION_LOST as number;

/** Whom a client may connect to. */
export type Hosts = () => readonly SimNode[];

export interface LinkWorld {
  readonly scheduler: Scheduler;
  readonly network: Network;
  readonly trace: Trace;
  readonly nodes: readonly SimNode[];
  /** A client saw what no server may send, or threw. */
  failed(error: unknown): void;
}

export interface LinkEvents {
  ready(): void;
  /** After every open request was told. */
  lost(): void;
}

export class ClientLink implements Host {
  readonly name: string;
  readonly awake = true;
  machine: ClientMachine | null = null;
  /** The node it is or was last connected to, and which of its processes. */
  node: SimNode | null = null;
  incarnation = 0;
  closed = false;
  readonly #world: LinkWorld;
  readonly #prng: Prng;
  readonly #events: LinkEvents;
  readonly #hosts: Hosts;
  /** The node that the next connection goes to; null = any. */
  #target: SimNode | null = null;
  #socket: SimSocket | null = null;
  #life = 0;
  #pauseUs = PAUSE_MIN_US;
  /** Events of this client that are going on: what they sent goes out together when they have ended. */
  #depth = 0;
  #ready = false;

  constructor(world: LinkWorld, name: string, prng: Prng, hosts: Hosts, events: LinkEvents) {
    this.#world = world;
    this.#hosts = hosts;
    this.name = name;
    this.#prng = prng;
    this.#events = events;
    this.#connect();
  }

  get ready(): boolean {
    return this.#ready;
  }

  /** Facts from a process that has gone since may be older than a power cut. */
  get stale(): boolean {
    return this.node === null || this.node.incarnation !== this.incarnation;
  }

  // Host

  deliver(event: () => void): void {
    this.#depth++;
    try {
      event();
    } catch (error) {
      this.#world.failed(error);
    }
    if (--this.#depth === 0) this.#flush();
  }

  whenAwake(): void {
    // A client never sleeps.
  }

  // Requests

  /** Sends a request; `done` gets each of its answers, the last with `more` false, or its end. */
  call<Q, A>(op: Op, request: Layout<Q>, value: Q, answer: { read(r: ReaderType): A }, done: (outcome: Outcome<A>) => void): number {
    const machine = this.machine!;
    return machine.request(
      op,
      {
        answer: (_tag, frame, more) => this.deliver(() => done(outcomeOf(frame, answer, more))),
        lost: (_tag, error) => this.deliver(() => done({ ok: false, code: LOST, error, noEffect: false, retriable: true })),
      },
      0,
      (w) => request.write(w, value, machine.grease()),
    );
  }

  cancel(id: number): void {
    this.machine?.about(Op.CANCEL, id, (w) => cancelRequest.write(w, {}));
  }

  credit(id: number, addBytes: number): void {
    this.machine?.about(Op.CREDIT, id, (w) => creditRequest.write(w, { addBytes }));
  }

  /** Bytes that no client machine would send. */
  raw(bytes: Buffer): void {
    this.#socket?.write(bytes);
  }

  /** Ends the connection at once; another one follows. */
  drop(): void {
    this.#socket?.destroy();
  }

  /** Says goodbye; another connection follows. */
  leave(): void {
    if (!this.#ready) return;
    this.#ready = false;
    this.machine!.leave();
  }

  /** Goes on with another node; null = any. */
  moveTo(target: SimNode | null): void {
    if (!this.#ready || target === this.node) return;
    this.#target = target;
    this.leave();
  }

  stopReading(): void {
    this.#socket?.pause();
  }

  readOn(): void {
    this.#socket?.resume();
  }

  close(): void {
    this.closed = true;
    this.drop();
  }

  // Life

  #connect(): void {
    if (this.closed) return;
    const { network, scheduler } = this.#world;
    const node = this.#target ?? this.#prng.pick(this.#hosts());
    this.#target = null;
    const life = ++this.#life;
    this.node = node;
    let decided = false;
    const decide = (): boolean => {
      if (decided || life !== this.#life) return false;
      return (decided = true);
    };
    const to = network.route(this.name, node.name);
    const back = network.route(node.name, this.name);
    scheduler.after(CONNECT_TIMEOUT_US, () => {
      if (decide()) this.#again();
    });
    scheduler.at(network.arrivalUs(to), () => {
      // A lost SYN: nothing comes back before the attempt is given up.
      if (to.blocked || back.blocked || (node.process !== null && !node.process.awake)) return;
      if (!decide()) return;
      if (!node.listening) this.#again();
      else this.#begin(node);
    });
  }

  #begin(node: SimNode): void {
    const { network, scheduler } = this.#world;
    const [mine, theirs] = SimSocket.pair(network, this, node.process!);
    const life = this.#life;
    this.#socket = mine;
    this.incarnation = node.incarnation;
    const { prng } = network;
    const machine = new ClientMachine(
      { name: this.name, clusterId: Buffer.alloc(16), token: undefined, random: () => this.#prng.next32() / 0x1_0000_0000 },
      {
        outputReady: () => {
          if (this.#depth === 0) this.#flush();
        },
        ready: () => this.#becameReady(),
        draining: () => (this.#ready = false),
        ended: (error) => this.#ended(error),
      },
      this.#nowMs(),
    );
    this.machine = machine;
    mine.on('data', (chunk: Buffer) => machine.receive(chunk, this.#nowMs()));
    mine.on('end', () => mine.end());
    mine.on('close', () => {
      if (life === this.#life) this.#gone(machine);
    });
    mine.resume();
    this.#trace(`connects to ${node.name}`);
    theirs.host.deliver(() => node.accept(theirs));
    this.#flush();
    const tick = (): void => {
      if (this.machine !== machine) return;
      this.deliver(() => machine.tick(this.#nowMs()));
      scheduler.after(TICK_US, tick);
    };
    scheduler.after(TICK_US - prng.next(1000), tick);
  }

  #becameReady(): void {
    this.#ready = true;
    this.#pauseUs = PAUSE_MIN_US;
    this.#events.ready();
  }

  #ended(error: ProtocolError): void {
    if (error.code === (LocalCode.PROTOCOL_VIOLATION as number)) {
      throw new Violation('wire', `${this.name}: ${error.message}`, { cause: error });
    }
    this.#ready = false;
    this.#socket?.end();
    const socket = this.#socket;
    this.#world.scheduler.after(100_000, () => socket?.destroy());
  }

  #gone(machine: ClientMachine): void {
    this.deliver(() => machine.end(new LocalError(LocalCode.CONNECTION_LOST, 'the stream ended', 'unknown')));
    if (this.machine !== machine) return;
    this.machine = null;
    this.#ready = false;
    this.#socket = null;
    this.#trace('has lost its connection');
    this.deliver(() => this.#events.lost());
    this.#again();
  }

  #again(): void {
    if (this.closed) return;
    const { scheduler } = this.#world;
    const pause = this.#pauseUs + this.#prng.next(this.#pauseUs);
    this.#pauseUs = Math.min(PAUSE_MAX_US, this.#pauseUs * 2);
    const life = this.#life;
    scheduler.after(pause, () => {
      if (life === this.#life && this.machine === null) this.#connect();
    });
  }

  #flush(): void {
    const { machine } = this;
    if (machine === null || machine.output.size === 0 || this.#socket === null) return;
    const bytes = Buffer.concat(machine.output.take());
    this.#world.trace.add(TraceKind.NET, bytes.length, this.#life, machine.lastId);
    this.#socket.write(bytes);
  }

  #nowMs(): number {
    return this.#world.scheduler.nowUs / 1000;
  }

  #trace(text: string): void {
    this.#world.trace.say(TraceKind.CLIENT, `${this.name} ${text}`);
  }
}

function outcomeOf<A>(frame: FrameReader, answer: { read(r: ReaderType): A }, more: boolean): Outcome<A> {
  const r = new Reader(frame.buffer, frame.start, frame.end);
  if (frame.status === 0) return { ok: true, value: answer.read(r), more };
  const error = readErrorBody(r, frame.status);
  return { ok: false, code: frame.status, error, noEffect: !error.outcomeUnknown, retriable: error.retriable };
}

