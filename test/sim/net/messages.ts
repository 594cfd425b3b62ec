// Single messages between nodes, for a consensus driver under a transport that promises nothing: they
// are lost, repeated, overtake each other, and wait or vanish behind partitions.
//
// Invariant: a message is delivered to the process that was alive when it arrived, or to none.
import type { Network } from './network.ts';
import type { Host } from './stream.ts';

/** Behind a blocked route so many messages wait; older ones are lost, as in a full send queue. */
const WAITING_MAX = 64;

export class MessageNet<M> {
  readonly #network: Network;
  readonly #hosts = new Map<string, { host: Host; take: (message: M) => void }>();
  /** Sees every message as it is sent: for checkers. */
  onSend: ((from: string, to: string, message: M) => void) | null = null;

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
    this.onSend?.(from, to, message);
    const { prng, options } = this.#network;
    if (prng.chance(options.lossChance)) {
      this.#network.lostCount++;
      return;
    }
    this.#sendOnce(from, to, message);
    if (prng.chance(options.repeatChance)) this.#sendOnce(from, to, message);
  }

  #sendOnce(from: string, to: string, message: M): void {
    const { prng, options, scheduler } = this.#network;
    const route = this.#network.route(from, to);
    let arrivalUs = this.#network.arrivalUs(route);
    if (prng.chance(options.reorderChance)) arrivalUs += prng.next(options.delayMaxUs * 20 + 1);
    const arrive = (): void => {
      if (route.blocked) {
        // A transport keeps little for a peer that it cannot reach.
        if (route.waiting.size < WAITING_MAX && prng.chance(0.5)) route.waiting.add({ routeOpened: arrive });
        else this.#network.lostCount++;
        return;
      }
      const target = this.#hosts.get(to);
      if (target === undefined) return;
      if (!target.host.awake) return target.host.whenAwake({ routeOpened: arrive });
      target.host.deliver(() => target.take(message));
    };
    scheduler.at(arrivalUs, arrive);
  }
}
