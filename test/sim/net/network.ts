// The simulated network: routes between named hosts, with delay, clogging and partitions (also in one
// direction), and what travels on them: byte streams like TCP (stream.ts) and single messages that may
// be lost, repeated and reordered (messages.ts).
//
// Invariant: a blocked route lets nothing through in its direction; what a stream had under way
// arrives, in order, after the route is open again.
import type { Prng } from '../../support/prng.ts';
import type { Scheduler } from '../core/scheduler.ts';

export interface NetworkOptions {
  /** Microseconds from one host to another, and more for one in a hundred. */
  readonly delayMinUs: number;
  readonly delayMaxUs: number;
  readonly delayRareUs: number;
  /** Chance that what one write sent arrives in pieces. */
  readonly splitChance: number;
  /** Bytes that one side of a stream may have under way and unread. */
  readonly windowBytes: number;
  /** Of single messages. */
  readonly lossChance: number;
  readonly repeatChance: number;
  readonly reorderChance: number;
}

/** Something that waits for its route. */
export interface Traffic {
  routeOpened(): void;
}

/** One direction between two hosts. */
export class Route {
  readonly from: string;
  readonly to: string;
  blocked = false;
  /** Nothing arrives before this time. */
  cloggedUntilUs = 0;
  readonly waiting = new Set<Traffic>();

  constructor(from: string, to: string) {
    this.from = from;
    this.to = to;
  }
}

export class Network {
  readonly scheduler: Scheduler;
  readonly prng: Prng;
  readonly options: NetworkOptions;
  healed = false;
  /** Messages lost on purpose, for the counters. */
  lostCount = 0;
  readonly #routes = new Map<string, Route>();

  constructor(scheduler: Scheduler, prng: Prng, options: NetworkOptions) {
    this.scheduler = scheduler;
    this.prng = prng;
    this.options = options;
  }

  route(from: string, to: string): Route {
    const key = `${from}>${to}`;
    let route = this.#routes.get(key);
    if (route === undefined) this.#routes.set(key, (route = new Route(from, to)));
    return route;
  }

  /** When something sent now arrives. */
  arrivalUs(route: Route): number {
    const { delayMinUs, delayMaxUs, delayRareUs } = this.options;
    let delay = this.prng.between(delayMinUs, delayMaxUs);
    if (delayRareUs > 0 && this.prng.chance(0.01)) delay += this.prng.next(delayRareUs);
    return Math.max(this.scheduler.nowUs + delay, route.cloggedUntilUs);
  }

  /** Lets nothing through from one host to another until `open`. */
  block(from: string, to: string): void {
    this.route(from, to).blocked = true;
  }

  open(from: string, to: string): void {
    const route = this.route(from, to);
    if (!route.blocked) return;
    route.blocked = false;
    const waiting = [...route.waiting];
    route.waiting.clear();
    for (const traffic of waiting) traffic.routeOpened();
  }

  /** Cuts two groups of hosts off from each other, in both directions or in one. */
  partition(left: readonly string[], right: readonly string[], direction: 'both' | 'toLeft' | 'toRight'): void {
    for (const a of left) {
      for (const b of right) {
        if (direction !== 'toLeft') this.block(a, b);
        if (direction !== 'toRight') this.block(b, a);
      }
    }
  }

  clog(from: string, to: string, us: number): void {
    const route = this.route(from, to);
    route.cloggedUntilUs = Math.max(route.cloggedUntilUs, this.scheduler.nowUs + us);
  }

  /** Opens every route and unclogs it; from now on messages are as safe as on a connection that holds. */
  heal(): void {
    this.healed = true;
    for (const route of this.#routes.values()) {
      route.cloggedUntilUs = 0;
      this.open(route.from, route.to);
    }
  }
}
