// A progress line on stderr, redrawn in place, only where a person looks at a terminal.
import { formatSize } from '../units.ts';

const REDRAW_MS = 100;
const BAR_WIDTH = 24;

export class Progress {
  private readonly enabled: boolean;
  private readonly startedMs = performance.now();
  private drawnMs = 0;
  private drawn = false;

  /** `wanted`: false where the command's own output goes to the same terminal. */
  constructor(wanted = true) {
    this.enabled = wanted && process.stderr.isTTY === true;
  }

  /** Shows counts and rates; `share` (0 to 1) draws a bar, null only the figures. Cheap to call often. */
  update(label: string, count: number, bytes: number, share: number | null): void {
    if (!this.enabled) return;
    const now = performance.now();
    if (now - this.drawnMs < REDRAW_MS) return;
    this.drawnMs = now;
    this.drawn = true;
    const seconds = Math.max(0.001, (now - this.startedMs) / 1000);
    const filled = share === null ? 0 : Math.round(Math.min(1, share) * BAR_WIDTH);
    const bar = share === null ? '' : `[${'#'.repeat(filled)}${'.'.repeat(BAR_WIDTH - filled)}] ${String(Math.floor(share * 100)).padStart(3)} % `;
    process.stderr.write(
      `\r\x1b[K${bar}${count.toLocaleString('en')} ${label}, ${formatSize(bytes)}, ${formatSize(bytes / seconds)}/s`,
    );
  }

  /** Removes the line, so that what follows begins on a clean one. */
  end(): void {
    if (this.drawn) process.stderr.write('\r\x1b[K');
    this.drawn = false;
  }
}
