// Counts frames that have no effect (CREDIT or CANCEL of ids that are not open, answers to nothing):
// each is cheap to send and cheap to ignore, but nobody needs ten thousand of them in a second.
// A window begins with the first such frame after the last window is over, so an idle connection
// never carries a count, and a burst from silence is judged exactly.

/** More than this within one window is CONTROL_FLOOD. */
export const NO_EFFECT_FRAMES_MAX = 10_000;
const WINDOW_MS = 1_000;

export class FloodCounter {
  private startMs = -WINDOW_MS;
  private count = 0;

  /** Counts one frame; true when it is one too many. */
  add(nowMs: number): boolean {
    if (nowMs - this.startMs >= WINDOW_MS) {
      this.startMs = nowMs;
      this.count = 0;
    }
    return ++this.count > NO_EFFECT_FRAMES_MAX;
  }
}
