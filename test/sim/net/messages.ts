// Single messages between nodes, for a consensus driver under a transport that promises nothing: they
// are lost, repeated, overtake each other, and wait or vanish behind partitions.
//
// Invariant: a message is delivered to the process that was alive when it arrived, or to none.
import type { Network, Route } from './network.ts';
import type { Host } from './stream.ts';

/** Behind a blocked route so many messages wait; older ones are lost, as in a full send queue. */
const WAITING_MAX = 64;

/** What one host sends to another at one moment: it arrives together, or is lost. */
interface Parcel<M> {
  readonly sentUs: number;
  readonly messages: M[];
  isLost: boolean;
}

export class MessageNet<M> {
  readonly #network: Network;
  /** By route: the newest parcel. */
  readonly #parcels = new Map<Route, Parcel<M>>();
  readonly #hosts = new Map<string, { host: Host; take: (message: M) => void }>();

  constructor(network: Network) {
    this.#network = network;
  }

  /** Messages to `host.name` go to `take` from now on. */
  attach(host: Host, take: (message: M) => void): void {
    this.#hosts.set(host.name, { host, take });
  }

  detach(name: string): void {
    this.#hosts.delete(name);
  }

  /** The message must not change after the call. */
  send(from: string, to: string, message: M): void {
    const { prng, options, scheduler, healed } = this.#network;
    const route = this.#network.route(from, to);
    const newest = this.#parcels.get(route);
    if (newest !== undefined && newest.sentUs === scheduler.nowUs) return void newest.messages.push(message);
    const parcel = { sentUs: scheduler.nowUs, messages: [message], isLost: !healed && prng.chance(options.lossChance) };
    this.#parcels.set(route, parcel);
    if (parcel.isLost) {
      this.#network.lostCount++;
      return;
    }
    this.#sendOnce(route, parcel);
    if (!healed && prng.chance(options.repeatChance)) this.#sendOnce(route, parcel);
  }

  #sendOnce(route: Route, parcel: Parcel<M>): void {
    const { prng, options, scheduler, healed } = this.#network;
    let arrivalUs = this.#network.arrivalUs(route);
    if (!healed && prng.chance(options.reorderChance)) arrivalUs += prng.next(options.delayMaxUs * 20 + 1);
    const arrive = (): void => {
      if (route.blocked) {
        // A transport keeps little for a peer that it cannot reach.
        if (route.waiting.size < WAITING_MAX && prng.chance(0.5)) route.waiting.add({ routeOpened: arrive });
        else this.#network.lostCount++;
        return;
      }
      const target = this.#hosts.get(route.to);
      if (target === undefined) return;
      if (!target.host.awake) return target.host.whenAwake({ routeOpened: arrive });
      target.host.deliver(() => {
        for (const message of parcel.messages) target.take(message);
      });
    };
    scheduler.at(arrivalUs, arrive);
  }
}
