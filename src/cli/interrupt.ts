// Ctrl-C and SIGTERM for commands that have something to finish first. The first signal is noted; a
// second one ends the process as if nobody had listened.

export class Interrupt {
  /** A signal came. */
  raised = false;
  private readonly listeners: Array<() => void> = [];
  private readonly onSignal = (): void => {
    this.release();
    this.raised = true;
    for (const listener of this.listeners) listener();
  };

  constructor() {
    process.on('SIGINT', this.onSignal);
    process.on('SIGTERM', this.onSignal);
  }

  /** Calls `listener` when a signal comes, or now if one came. */
  whenRaised(listener: () => void): void {
    if (this.raised) listener();
    else this.listeners.push(listener);
  }

  /** Signals end the process again. */
  release(): void {
    process.removeListener('SIGINT', this.onSignal);
    process.removeListener('SIGTERM', this.onSignal);
  }
}
