// Our own server as a target: starts, stops, kills and damages one process, and answers the suite's
// hooks. Used by the selftest in this process, and by targets/sidelog.ts as a command for hooks.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, closeSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onExit } from '../engine/ending.ts';
import { HarnessError } from '../engine/failure.ts';
import type { HookName, HookVars, Hooks } from '../engine/hooks.ts';
import { selfSigned } from './certificate.ts';

const READY_LIMIT_MS = 20_000;
const STOP_LIMIT_MS = 20_000;
/** The test build looks for a new offset of its clock every 20 ms. */
const CLOCK_SEEN_MS = 60;
/** The address that the test build takes for a far one. */
export const FAR_ADDRESS = '127.0.0.9';

export interface OwnServerOptions {
  /** Where data, certificate and state lie. */
  readonly folder: string;
  /** dist/sidelog.cjs, or the test build. */
  readonly program: string;
  readonly isTestBuild: boolean;
  readonly tls: boolean;
  readonly mutant?: string;
  /** Further flags of `serve`. */
  readonly flags?: readonly string[];
  readonly limits?: Readonly<Record<string, number>>;
  /** The server and its folder end with this process; else the server outlives it once it is ready. */
  readonly isOwned?: boolean;
}

interface State {
  pid: number;
  port: number;
  /** Faults now in force, as the test build reads them. */
  faults: Record<string, unknown>;
}

/** Declared, so that a mutant which answers wrongly is not taken for one that offers less. */
const ALL_FEATURES = {
  idempotence: true, conditional: true, streaming: true, http: true, trash: true, tls: true, 'transfer-leader': true, 'remove-node': true, peers: false,
};
const FAULT_HOOKS: readonly HookName[] = ['powerloss', 'slowsync', 'failsync', 'fill', 'free', 'clock'];
const HOOKS: readonly HookName[] = ['start', 'stop', 'kill', 'wipe', 'damage'];

export class OwnServer implements Hooks {
  private readonly options: OwnServerOptions;
  private pid: number | null = null;
  private readonly release: () => void;

  constructor(options: OwnServerOptions) {
    this.options = options;
    mkdirSync(options.folder, { recursive: true });
    this.release = onExit(() => this.endWithUs());
    if (options.tls && !existsSync(this.path('cert.pem'))) {
      const { cert, key } = selfSigned();
      writeFileSync(this.path('cert.pem'), cert);
      writeFileSync(this.path('key.pem'), key);
    }
  }

  has(name: HookName): boolean {
    return HOOKS.includes(name) || (this.options.isTestBuild && FAULT_HOOKS.includes(name));
  }

  async run(name: HookName, vars: HookVars): Promise<Record<string, unknown>> {
    switch (name) {
      case 'start': return this.start();
      case 'stop': return this.end('SIGTERM');
      // The test build keeps what was not synced in its memory, so that there a kill is a loss of power.
      case 'kill': return this.end('SIGKILL');
      case 'powerloss': return this.end('SIGKILL');
      case 'wipe': rmSync(this.path('data'), { recursive: true, force: true }); return {};
      case 'damage': return this.damage(String(vars.log));
      case 'slowsync': return this.fault({ syncDelayMs: Number(vars.ms) });
      case 'failsync': return this.fault({ failSync: Number(vars.on) === 1 });
      case 'fill': return this.fault({ full: true });
      case 'free': return this.fault({ full: false });
      case 'clock': {
        this.fault({ clockOffsetMs: Number(vars.ms) });
        await sleep(CLOCK_SEEN_MS);
        return {};
      }
      default: throw new HarnessError(`our own server has no hook ${name}`);
    }
  }

  /** A target.json for this server, which must be running. */
  manifest(hooks?: Record<string, unknown>): Record<string, unknown> {
    const { port, pid } = this.state();
    const { tls, isTestBuild, limits = {} } = this.options;
    return {
      schema: 'sidelog-target/1', name: isTestBuild ? 'sidelog (test build)' : 'sidelog', spec: '1.0',
      endpoints: [{ node: 1, host: '127.0.0.1', port, pid }], plaintext: true,
      ...(tls ? { tls: { ca: this.path('cert.pem'), servername: 'localhost' } } : {}),
      ...(isTestBuild && tls ? { far: { host: '127.0.0.1', port, localAddress: FAR_ADDRESS } } : {}),
      ...(isTestBuild ? { features: ALL_FEATURES } : {}), limits, timing: { restart_ms: 15_000 },
      ...(hooks ? { hooks } : {}),
    };
  }

  async start(): Promise<Record<string, unknown>> {
    const { program, tls, mutant } = this.options;
    const previous = existsSync(this.path('state.json')) ? this.state() : null;
    writeFileSync(this.path('faults.json'), JSON.stringify(previous?.faults ?? {}));
    const output = openSync(this.path('out.log'), 'w');
    const errors = openSync(this.path('err.log'), 'a');
    const argv = [
      program, 'serve', '--data-dir', this.path('data'), '--listen', `127.0.0.1:${previous?.port ?? 0}`, '--node-name', 'one', '--shutdown-grace', '3s',
      '--log-format', 'json', ...(this.options.flags ?? []), ...(tls ? ['--tls-cert', this.path('cert.pem'), '--tls-key', this.path('key.pem')] : []),
    ];
    const child = spawn(process.execPath, argv, {
      stdio: ['ignore', output, errors], detached: true,
      env: { ...process.env, SIDELOG_FAULTS: this.path('faults.json'), SIDELOG_FAR: FAR_ADDRESS, ...(mutant ? { SIDELOG_MUTANT: mutant.replace(/^srv:/, '') } : {}) },
    });
    this.pid = child.pid!;
    child.unref();
    closeSync(output);
    closeSync(errors);
    const port = await this.ready(child.pid!);
    if (this.options.isOwned !== true) this.pid = null;
    writeFileSync(this.path('state.json'), JSON.stringify({ pid: child.pid, port, faults: previous?.faults ?? {} }));
    return { pid: child.pid, port, host: '127.0.0.1', farPort: port };
  }

  state(): State {
    return JSON.parse(readFileSync(this.path('state.json'), 'utf8')) as State;
  }

  path(name: string): string {
    return join(this.options.folder, name);
  }

  /** Ends the process, if it is still there, and removes the folder. */
  async destroy(): Promise<void> {
    if (this.pid !== null || existsSync(this.path('state.json'))) await this.end('SIGKILL');
    this.release();
    this.remove();
  }

  /** At once: this process ends. */
  private endWithUs(): void {
    try {
      if (this.pid !== null) process.kill(this.pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
    if (this.options.isOwned === true) this.remove();
  }

  private remove(): void {
    rmSync(this.options.folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 20 });
  }

  private async ready(pid: number): Promise<number> {
    const deadline = Date.now() + READY_LIMIT_MS;
    while (Date.now() < deadline) {
      const text = readFileSync(this.path('out.log'), 'utf8');
      const line = /\{"event":"ready".*\}/.exec(text);
      if (line) return Number(/:(\d+)$/.exec((JSON.parse(line[0]) as { address: string }).address)![1]);
      if (!isAlive(pid)) break;
      await sleep(10);
    }
    throw new HarnessError(`the server did not become ready: ${readFileSync(this.path('err.log'), 'utf8').slice(-500)}`);
  }

  private async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<Record<string, unknown>> {
    const pid = this.pid ?? this.state().pid;
    if (isAlive(pid)) process.kill(pid, signal);
    const deadline = Date.now() + STOP_LIMIT_MS;
    while (isAlive(pid)) {
      if (Date.now() > deadline) throw new HarnessError(`process ${pid} did not end after ${signal}`);
      await sleep(5);
    }
    this.pid = null;
    return {};
  }

  private fault(change: Record<string, unknown>): Record<string, unknown> {
    const state = this.state();
    state.faults = { ...state.faults, ...change };
    writeFileSync(this.path('state.json'), JSON.stringify(state));
    writeFileSync(this.path('faults.json'), JSON.stringify(state.faults));
    return {};
  }

  /** Changes one byte of the first batch of this log, in its first segment. */
  private damage(log: string): Record<string, unknown> {
    const logs = this.path('data/logs');
    for (const uid of readdirSync(logs)) {
      const description = join(logs, uid, 'log.json');
      if (!existsSync(description) || !readFileSync(description, 'utf8').includes(`"${log}"`)) continue;
      for (const file of readdirSync(join(logs, uid), { recursive: true }) as string[]) {
        const path = join(logs, uid, file);
        if (!/\d{20}\.\w+$/.test(file)) continue;
        const bytes = readFileSync(path);
        const at = bytes.indexOf('record number 0');
        if (at < 0) continue;
        bytes[at]! ^= 0x01;
        writeFileSync(path, bytes);
        return {};
      }
    }
    throw new HarnessError(`found no batch of the log ${log} to damage`);
  }
}

/** A zombie (ended, not yet waited for) counts as gone. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return true;
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
