// Hooks: what the suite asks the operator's side to do with the server (start it, kill it, damage
// its files). From a manifest they are argv arrays, run without a shell; the selftest has its own.
import { spawn } from 'node:child_process';
import { HarnessError, Skip } from './failure.ts';

export const HOOK_NAMES = [
  'start', 'stop', 'kill', 'wipe', 'powerloss', 'partition', 'heal', 'leader', 'damage', 'fill', 'free', 'failsync', 'slowsync', 'clock',
] as const;
export type HookName = (typeof HOOK_NAMES)[number];
export type HookVars = Readonly<Record<string, string | number>>;

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

export class ArgvHooks implements Hooks {
  private readonly table: Readonly<Record<string, readonly string[]>>;
  private readonly folder: string;
  private readonly limitMs: number;

  constructor(table: Readonly<Record<string, readonly string[]>>, folder: string, limitMs: number) {
    this.table = table;
    this.folder = folder;
    this.limitMs = limitMs;
  }

  has(name: HookName): boolean {
    return this.table[name] !== undefined;
  }

  async run(name: HookName, vars: HookVars): Promise<Record<string, unknown>> {
    const argv = this.table[name];
    if (argv === undefined) throw new Skip(`hook:${name}`, `the target has no hook ${name}`);
    const [command, ...rest] = argv.map((word) => word.replace(/\{(\w+)\}/g, (all, key: string) => (vars[key] === undefined ? all : String(vars[key]))));
    const { code, output, errors } = await exec(command!, rest, this.folder, this.limitMs * 3);
    if (code !== 0) throw new HarnessError(`hook ${name} (${argv.join(' ')}) ended with ${code}: ${errors.trim().slice(-500)}`);
    const line = output.trim().split('\n').at(-1) ?? '';
    if (!line.startsWith('{')) return {};
    try {
      return JSON.parse(line) as Record<string, unknown>;
    } catch {
      throw new HarnessError(`hook ${name} printed what looks like JSON and is none: ${line.slice(0, 200)}`);
    }
  }
}

function exec(command: string, argv: string[], cwd: string, limitMs: number): Promise<{ code: number | string; output: string; errors: string }> {
  return new Promise((resolve) => {
    // A server that the hook leaves running must not hold our pipes: `exit` counts, not `close`.
    const child = spawn(command, argv, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
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
