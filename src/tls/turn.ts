// The end of a turn of the event loop: what one poll phase gathered (appends to logs, answers to
// connections) is handed on once, not once per request. Logs go before sockets, because a disk
// write runs in the thread pool while the sockets are served.

export class Turn {
  private tasks: Array<() => void> = [];
  private flushes: Array<{ flush(): void }> = [];
  private scheduled = false;

  /** Runs `task` once at the end of this turn, before any socket is written. */
  readonly defer = (task: () => void): void => {
    this.tasks.push(task);
    this.schedule();
  };

  /** Calls `target.flush()` at the end of this turn; the caller makes sure to ask once per turn. */
  flushLater(target: { flush(): void }): void {
    this.flushes.push(target);
    this.schedule();
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(this.run);
  }

  private readonly run = (): void => {
    this.scheduled = false;
    const tasks = this.tasks;
    const flushes = this.flushes;
    this.tasks = [];
    this.flushes = [];
    for (const task of tasks) task();
    for (const target of flushes) target.flush();
  };
}
