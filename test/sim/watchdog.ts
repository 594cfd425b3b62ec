// Names the world that stands still. A loop without an end in what is tested cannot be left from inside,
// so a thread of its own looks whether simulated time goes on, and ends the process when it does not.
import { Worker } from 'node:worker_threads';

const BEAT_MS = 250;

/** Counts its own beats, not the time: a process that was stopped for a while has not stood still. */
const THREAD = `
const { parentPort, workerData } = require('node:worker_threads');
const words = new Int32Array(workerData.shared);
let [what, seen, beats] = ['', -1, 0];
parentPort.on('message', (message) => ([what, beats] = [message, 0]));
setInterval(() => {
  const now = Atomics.load(words, 0);
  beats = now === seen ? beats + 1 : 0;
  seen = now;
  if (beats < workerData.beatsMax) return;
  require('node:fs').writeSync(2, what + '\\n0 passed, 1 failed\\n');
  process.kill(process.pid, 'SIGKILL');
}, ${BEAT_MS});
`;

export class Watchdog {
  readonly #words = new Int32Array(new SharedArrayBuffer(4));
  readonly #thread: Worker;
  readonly #timer: NodeJS.Timeout;
  #progress: () => number = () => 0;

  /** `limitMs`: real milliseconds without a simulated one. */
  constructor(limitMs: number) {
    const workerData = { shared: this.#words.buffer, beatsMax: Math.ceil(limitMs / BEAT_MS) };
    this.#thread = new Worker(THREAD, { eval: true, workerData });
    this.#timer = setInterval(() => Atomics.store(this.#words, 0, Math.floor(this.#progress()) | 0), BEAT_MS);
  }

  /** From now on it watches something else: `what` is said of it, `progress` changes while it goes on. */
  watch(what: string, progress: () => number): void {
    this.#progress = progress;
    this.#thread.postMessage(what);
  }

  async end(): Promise<void> {
    clearInterval(this.#timer);
    await this.#thread.terminate();
  }
}
