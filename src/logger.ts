// Structured log lines on stderr: one JSON object per line, or a short form for a terminal.
// Knows nothing of what it logs; never throws.

const LEVELS = { debug: 10, info: 20, warn: 30, error: 40 } as const;
export type LogLevel = keyof typeof LEVELS;

export type LogFields = Record<string, string | number | boolean | null | undefined>;

export interface Logger {
  log(level: LogLevel, event: string, fields?: LogFields): void;
}

/** A logger that writes whole lines to `write`. `pretty` is for people, JSON for everything else. */
export function createLogger(write: (line: string) => void, format: 'json' | 'pretty', least: LogLevel): Logger {
  return {
    log(level, event, fields = {}) {
      if (LEVELS[level] < LEVELS[least]) return;
      const time = new Date().toISOString();
      if (format === 'json') {
        write(`${JSON.stringify({ time, level, event, ...fields })}\n`);
        return;
      }
      const details = Object.entries(fields)
        .filter(([, value]) => value !== undefined)
        .map(([key, value]) => `${key}=${typeof value === 'string' && /\s/.test(value) ? JSON.stringify(value) : value}`);
      write(`${time.slice(11, 23)} ${level.toUpperCase().padEnd(5)} ${event}${details.length > 0 ? `  ${details.join(' ')}` : ''}\n`);
    },
  };
}
