// Promises that wait for one moment together.

export class Latch {
  #waiting: Array<() => void> = [];

  get isAwaited(): boolean {
    return this.#waiting.length > 0;
  }

  wait(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Resolves all that wait now. */
  release(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
