// One question at a time to another replica: asked again while no answer comes, given up after a silence.
//
// Invariant: at most one question is out, and each is answered once: with bytes, or null for none.

/** What was not answered, a question or an offer, is said again. */
export const REPEAT_MS = 500;
/** The other side is taken for gone when nothing came for so long. */
export const SILENCE_MS = 5_000;

export class Pull {
  #ask: (() => void) | null = null;
  #answer: ((bytes: Buffer | null) => void) | null = null;
  /** Monotonic milliseconds of the last answer, and of the last question. */
  #heardMs = 0;
  #askedMs = 0;
  #nowMs = 0;
  #ended = false;

  /** Whether an answer is waited for. */
  get waiting(): boolean {
    return this.#answer !== null;
  }

  /** `ask` sends the question, now and as often as it takes; null when there is no answer. */
  question(ask: () => void): Promise<Buffer | null> {
    if (this.#ended) return Promise.resolve(null);
    return new Promise((resolve) => {
      this.#ask = ask;
      this.#answer = resolve;
      this.#heardMs = this.#askedMs = this.#nowMs;
      ask();
    });
  }

  /** The answer to the question that is out. */
  answer(bytes: Buffer | null): void {
    const answer = this.#answer;
    this.#ask = this.#answer = null;
    answer?.(bytes);
  }

  tick(nowMs: number): void {
    // The first tick says where the clock stands.
    if (this.#nowMs === 0) this.#heardMs = this.#askedMs = nowMs;
    this.#nowMs = nowMs;
    if (this.#ask === null) return;
    if (nowMs - this.#heardMs >= SILENCE_MS) return this.answer(null);
    if (nowMs - this.#askedMs < REPEAT_MS) return;
    this.#askedMs = nowMs;
    this.#ask();
  }

  end(): void {
    this.#ended = true;
    this.answer(null);
  }
}
