// One life of a node's process: what is scheduled in it dies with it, and waits while it is stopped
// (SIGSTOP) as completed calls and filled sockets wait in a kernel.
//
// Invariant: nothing of a process that has gone runs any more.
import type { Scheduler, Task } from '../core/scheduler.ts';
import type { Traffic } from '../net/network.ts';
import type { Host } from '../net/stream.ts';

export class SimProcess implements Host {
  readonly name: string;
  alive = true;
  awake = true;
  readonly #scheduler: Scheduler;
  readonly #crashed: (error: unknown) => void;
  #backlog: Task[] = [];
  #traffic = new Set<Traffic>();

  /** `crashed` is told what an event threw. */
  constructor(name: string, scheduler: Scheduler, crashed: (error: unknown) => void) {
    this.name = name;
    this.#scheduler = scheduler;
    this.#crashed = crashed;
  }

  /** Runs `task` in this process after so many microseconds. */
  later(delayUs: number, task: Task): void {
    this.#scheduler.after(delayUs, () => this.#arrive(task));
  }

  deliver(event: () => void): void {
    if (!this.alive) return;
    try {
      event();
    } catch (error) {
      this.#crashed(error);
    }
  }

  whenAwake(traffic: Traffic): void {
    this.#traffic.add(traffic);
  }

  sleep(): void {
    this.awake = false;
  }

  wake(): void {
    this.awake = true;
    const traffic = [...this.#traffic];
    this.#traffic.clear();
    for (const each of traffic) each.routeOpened();
    for (const task of this.#backlog.splice(0)) this.#scheduler.after(1, () => this.#arrive(task));
  }

  end(): void {
    this.alive = false;
    this.#backlog = [];
    this.#traffic.clear();
  }

  #arrive(task: Task): void {
    if (!this.alive) return;
    if (!this.awake) this.#backlog.push(task);
    else this.deliver(task);
  }
}
