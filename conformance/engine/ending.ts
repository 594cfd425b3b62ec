// What must not outlive the suite: servers that it started, and faults that it asked for. `onExit` is
// for what can be done at once, however the process ends but by SIGKILL; `onInterrupt` for what takes
// time, when a signal or a reader of stdout that has gone away ends it early.

const exits = new Set<() => void>();
const interrupts = new Set<() => Promise<void>>();
let ending = false;

process.on('exit', () => {
  for (const undo of exits) {
    try {
      undo();
    } catch {
      // The others are to be ended all the same.
    }
  }
});

/** Returns what takes the promise back, for a thing that was ended in good order. */
export function onExit(undo: () => void): () => void {
  exits.add(undo);
  return () => void exits.delete(undo);
}

/** As `onExit`, for what has to wait: a hook that must run. */
export function onInterrupt(undo: () => Promise<void>): () => void {
  interrupts.add(undo);
  return () => void interrupts.delete(undo);
}

/** Broken off: whatever the command gives back or throws now counts for nothing. */
export function isEnding(): boolean {
  return ending;
}

/** From now on signals and a closed stdout end the process with `code`, and nothing that it started stays. */
export function endInOrder(code: number): void {
  const end = (why: string): void => {
    ending = true;
    if (interrupts.size > 0) process.stderr.write(`${why}: ending what the suite began; a second signal ends at once\n`);
    void Promise.allSettled([...interrupts].map((undo) => undo())).then(() => process.exit(code));
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => (ending ? process.exit(code) : end(signal)));
  process.stdout.on('error', () => void (ending || end('nobody reads the output any more')));
  process.stderr.on('error', () => undefined);
}
