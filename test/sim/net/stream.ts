// A byte stream between two hosts, as TCP gives it: what is written arrives whole and in order or the
// stream ends; writes are taken up to a window; each side can end its half, reset, or vanish. Each end
// has the part of node:net's Socket that connection.ts uses, so that the code that ships runs on it.
//
// Invariant: bytes are copied when they are written, and delivered at most once, in order.
import type { Network, Route, Traffic } from './network.ts';

/** What an end of a stream lives on: when it can take events, and how they are run. */
export interface Host {
  readonly name: string;
  /** False while the host's process stands still. */
  readonly awake: boolean;
  /** Runs an event in the host's process; does nothing when that has gone. */
  deliver(event: () => void): void;
  /** Called when it can take events again. */
  whenAwake(traffic: Traffic): void;
}

interface Parcel {
  readonly arrivalUs: number;
  /** Null = the end of the half. */
  readonly bytes: Buffer | null;
}

/** Between a write and its callback when there is room: the kernel takes the bytes. */
const TAKEN_US = 15;
/** A reset or a vanished peer is noticed after a delay like any packet's. */
type Listener = (argument?: never) => void;

/** One direction. */
class Half implements Traffic {
  unreadBytes = 0;
  lastArrivalUs = 0;
  readonly parcels: Parcel[] = [];
  readonly route: Route;
  readonly #network: Network;
  readonly #receiver: SimSocket;
  readonly #room: Array<() => void> = [];
  broken = false;

  constructor(network: Network, route: Route, receiver: SimSocket) {
    this.#network = network;
    this.route = route;
    this.#receiver = receiver;
  }

  send(bytes: Buffer | null): void {
    const { prng, options } = this.#network;
    if (bytes === null || bytes.length < 2 || !prng.chance(options.splitChance)) return this.#push(bytes);
    const cuts = prng.between(1, 3);
    let at = 0;
    for (let i = 0; i < cuts && at < bytes.length; i++) {
      const end = Math.min(bytes.length, at + 1 + prng.next(prng.chance(0.5) ? 16 : bytes.length - at));
      this.#push(bytes.subarray(at, end));
      at = end;
    }
    if (at < bytes.length) this.#push(bytes.subarray(at));
  }

  #push(bytes: Buffer | null): void {
    this.lastArrivalUs = Math.max(this.lastArrivalUs, this.#network.arrivalUs(this.route));
    this.parcels.push({ arrivalUs: this.lastArrivalUs, bytes });
    if (bytes !== null) this.unreadBytes += bytes.length;
    this.#network.scheduler.at(this.lastArrivalUs, () => this.pump());
  }

  /** Calls `then` when the window has room. */
  whenRoom(then: () => void): void {
    if (this.unreadBytes < this.#network.options.windowBytes) this.#network.scheduler.after(TAKEN_US, then);
    else this.#room.push(then);
  }

  /** Hands over what has arrived, if the receiver takes it. */
  pump(): void {
    const { nowUs } = this.#network.scheduler;
    while (!this.broken && this.parcels.length > 0 && this.parcels[0]!.arrivalUs <= nowUs) {
      if (this.route.blocked) return void this.route.waiting.add(this);
      if (this.#receiver.paused) return;
      if (!this.#receiver.host.awake) return this.#receiver.host.whenAwake(this);
      const { bytes } = this.parcels.shift()!;
      if (bytes !== null) this.#taken(bytes.length);
      this.#receiver.receive(bytes);
    }
  }

  routeOpened(): void {
    this.#network.scheduler.at(this.#network.arrivalUs(this.route), () => this.pump());
  }

  /** Nothing more arrives. */
  cut(): void {
    this.broken = true;
    this.parcels.length = 0;
    this.unreadBytes = 0;
    this.#room.length = 0;
  }

  #taken(bytes: number): void {
    this.unreadBytes -= bytes;
    if (this.unreadBytes >= this.#network.options.windowBytes) return;
    for (const then of this.#room.splice(0)) this.#network.scheduler.after(TAKEN_US, then);
  }
}

export class SimSocket {
  readonly host: Host;
  destroyed = false;
  paused = true;
  peer!: SimSocket;
  readonly #network: Network;
  #incoming!: Half;
  #outgoing!: Half;
  readonly #listeners = new Map<string, Listener[]>();
  #corked: Buffer[] | null = null;
  #ended = false;
  #peerEnded = false;
  #closed = false;

  constructor(network: Network, host: Host) {
    this.#network = network;
    this.host = host;
  }

  /** Two ends that are connected: what one writes the other reads. */
  static pair(network: Network, a: Host, b: Host): [SimSocket, SimSocket] {
    const left = new SimSocket(network, a);
    const right = new SimSocket(network, b);
    left.peer = right;
    right.peer = left;
    const toRight = new Half(network, network.route(a.name, b.name), right);
    const toLeft = new Half(network, network.route(b.name, a.name), left);
    left.#outgoing = right.#incoming = toRight;
    left.#incoming = right.#outgoing = toLeft;
    return [left, right];
  }

  // What connection.ts uses of a Socket

  on(event: 'data' | 'end' | 'close' | 'error', listener: (argument: never) => void): this {
    const list = this.#listeners.get(event) ?? [];
    list.push(listener as Listener);
    this.#listeners.set(event, list);
    return this;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.#network.scheduler.after(1, () => this.#incoming.pump());
  }

  cork(): void {
    this.#corked ??= [];
  }

  uncork(): void {
    const corked = this.#corked;
    this.#corked = null;
    if (corked !== null && corked.length > 0) this.#send(Buffer.concat(corked));
  }

  write(chunk: Buffer, written?: (error?: Error | null) => void): void {
    if (this.destroyed || this.#ended) return;
    if (this.#corked !== null) this.#corked.push(Buffer.from(chunk));
    else this.#send(Buffer.from(chunk));
    if (written !== undefined) this.#outgoing.whenRoom(() => this.#run(() => written()));
  }

  /** Ends this side: FIN behind what was written. */
  end(): void {
    if (this.destroyed || this.#ended) return;
    this.#ended = true;
    this.#outgoing.send(null);
    if (this.#peerEnded) this.#close();
  }

  /** Gives up both directions; the peer gets a reset. */
  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.#outgoing.cut();
    this.#incoming.cut();
    this.peer.resetLater();
    this.#close();
  }

  // What the simulator does to it

  receive(bytes: Buffer | null): void {
    if (this.destroyed) return;
    if (bytes !== null) return this.#run(() => this.#emit('data', bytes as never));
    this.#peerEnded = true;
    this.#run(() => {
      this.#emit('end');
      if (this.#ended) this.#close();
    });
  }

  /** A reset is on its way; it waits behind a partition like everything else. */
  resetLater(): void {
    const route = this.#incoming.route;
    const arrive = (): void => {
      if (route.blocked) return void route.waiting.add({ routeOpened: () => arrive() });
      if (!this.host.awake) return this.host.whenAwake({ routeOpened: () => arrive() });
      this.reset();
    };
    this.#network.scheduler.at(Math.max(this.#incoming.lastArrivalUs, this.#network.arrivalUs(route)), arrive);
  }

  /** The connection is reset at this end. */
  reset(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.#outgoing.cut();
    this.#incoming.cut();
    this.#close();
  }

  /** The process is killed: the kernel still delivers what was written, then FIN; later bytes are reset. */
  processGone(): void {
    if (this.destroyed) return;
    this.#ended = true;
    this.destroyed = true;
    this.#incoming.cut();
    this.#outgoing.send(null);
    // Whoever goes on writing to it learns by a reset; ours notices the FIN first.
    this.peer.resetLater();
  }

  /** The power went: the peer hears nothing until it gives up, or `afterUs` have passed. */
  machineGone(afterUs: number): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.#incoming.cut();
    this.#outgoing.cut();
    this.#network.scheduler.after(afterUs, () => this.peer.resetLater());
  }

  #send(bytes: Buffer): void {
    this.#outgoing.send(bytes);
  }

  #run(event: () => void): void {
    this.host.deliver(event);
  }

  #emit(event: string, argument?: never): void {
    for (const listener of this.#listeners.get(event) ?? []) listener(argument);
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.destroyed = true;
    this.#network.scheduler.after(1, () => this.#run(() => this.#emit('close')));
  }
}
