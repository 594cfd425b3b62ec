// Hooks: what the suite asks the operator's side to do with the server (start it, kill it, damage
// its files). From a manifest they are argv arrays, run without a shell; the selftest has its own.
import { spawn } from 'node:child_process';
import { onInterrupt } from './ending.ts';
import { HarnessError, Skip } from './failure.ts';

export const HOOK_NAMES = [
  'start', 'stop', 'kill', 'wipe', 'powerloss', 'partition', 'heal', 'leader', 'damage', 'fill', 'free', 'failsync', 'slowsync', 'clock',
] as const;
export type HookName = (typeof HOOK_NAMES)[number];
export type HookVars = Readonly<Record<string, string | number>>;

/** What takes a fault back. */
export const UNDO: Partial<Record<HookName, readonly [HookName, HookVars]>> = {
  slowsync: ['slowsync', { ms: 0 }], failsync: ['failsync', { on: 0 }], clock: ['clock', { ms: 0 }], fill: ['free', {}], partition: ['heal', {}],
};

export interface Hooks {
  has(name: HookName): boolean;
  /** Resolves with what the hook printed as JSON; @throws Skip when there is none, HarnessError when it fails. */
  run(name: HookName, vars: HookVars): Promise<Record<string, unknown>>;
}

export class NoHooks implements Hooks {
  has(): boolean {
    return false;
  }
  run(name: HookName): Promise<Record<string, unknown>> {
    return Promise.reject(new Skip(`hook:${name}`, `the target has no hook ${name}`));
  }
}

/** When a run is broken off, faults are taken back, and a server that a hook of it started is ended. */
export class ArgvHooks implements Hooks {
  private readonly table: Readonly<Record<string, readonly string[]>>;
  private readonly folder: string;
  private readonly limitMs: number;
  private readonly underWay = new Set<Promise<unknown>>();
  private readonly faults = new Map<HookName, HookVars>();
  /** The last start was ours. */
  private started: HookVars | null = null;
  private isOver = false;

  constructor(table: Readonly<Record<string, readonly string[]>>, folder: string, limitMs: number) {
    this.table = table;
    this.folder = folder;
    this.limitMs = limitMs;
    onInterrupt(() => this.end());
  }

  has(name: HookName): boolean {
    return this.table[name] !== undefined;
  }

  run(name: HookName, vars: HookVars): Promise<Record<string, unknown>> {
    if (this.table[name] === undefined) return Promise.reject(new Skip(`hook:${name}`, `the target has no hook ${name}`));
    // A run that was broken off begins nothing any more.
    if (this.isOver) return new Promise(() => undefined);
    return this.exec(name, vars);
  }

  private exec(name: HookName, vars: HookVars): Promise<Record<string, unknown>> {
    if (name === 'start') this.started = vars;
    if (UNDO[name] !== undefined) this.faults.set(name, vars);
    const work = call(name, this.table[name]!, vars, this.folder, this.limitMs * 3).then((printed) => {
      if (name === 'stop' || name === 'kill' || name === 'powerloss') this.started = null;
      return printed;
    });
    const settled = work.catch(() => null).finally(() => this.underWay.delete(settled));
    this.underWay.add(settled);
    return work;
  }

  private async end(): Promise<void> {
    this.isOver = true;
    await Promise.all(this.underWay);
    for (const [fault, vars] of this.faults) {
      const [name, undo] = UNDO[fault]!;
      if (this.has(name)) await this.exec(name, { ...vars, ...undo }).catch(tell);
    }
    const way = (['kill', 'stop', 'powerloss'] as const).find((name) => this.has(name));
    if (this.started !== null && way !== undefined) await this.exec(way, this.started).catch(tell);
  }
}

function tell(error: Error): void {
  process.stderr.write(`${error.message}\n`);
}

async function call(name: HookName, argv: readonly string[], vars: HookVars, folder: string, limitMs: number): Promise<Record<string, unknown>> {
  const [command, ...rest] = argv.map((word) => word.replace(/\{(\w+)\}/g, (all, key: string) => (vars[key] === undefined ? all : String(vars[key]))));
  const { code, output, errors } = await exec(command!, rest, folder, limitMs);
  if (code !== 0) throw new HarnessError(`hook ${name} (${argv.join(' ')}) ended with ${code}: ${errors.trim().slice(-500)}`);
  const line = output.trim().split('\n').at(-1) ?? '';
  if (!line.startsWith('{')) return {};
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    throw new HarnessError(`hook ${name} printed what looks like JSON and is none: ${line.slice(0, 200)}`);
  }
}

function exec(command: string, argv: string[], cwd: string, limitMs: number): Promise<{ code: number | string; output: string; errors: string }> {
  return new Promise((resolve) => {
    // A server that the hook leaves running must not hold our pipes: `exit` counts, not `close`.
    // Detached: a ^C is for the suite, which then ends in order what its hooks began.
    const child = spawn(command, argv, { cwd, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    let output = '';
    let errors = '';
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      done(`no end in ${limitMs} ms`);
    }, limitMs);
    const done = (code: number | string): void => {
      clearTimeout(timer);
      // One turn more, so that what was printed last is read.
      setImmediate(() => {
        child.stdout.destroy();
        child.stderr.destroy();
        resolve({ code, output, errors });
      });
    };
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
    child.once('error', (error) => done(error.message));
    child.once('exit', (code, signal) => done(code ?? signal ?? 'no code'));
  });
}
