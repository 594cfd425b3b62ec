// The built file as a user runs it: servers on ephemeral ports with data in temporary folders, commands
// with their input and output, and what /proc says of a process. Everything is ended and removed at the
// end of the process, also when a test fails.
import { spawn } from 'node:child_process';
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

/** SIDELOG_BUILT: another built file than the one of `npm run build`. */
export const BUILT = resolve(process.env['SIDELOG_BUILT'] ?? 'dist/sidelog.cjs');
const READY_TIMEOUT_MS = 20_000;
/** No command of the tests takes longer. */
const RUN_TIMEOUT_MS = 30_000;

const children = new Set<ChildProcess>();
const folders: string[] = [];

process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** For `test.after`: ends what a failed test left running, which would keep this process alive. */
export async function endAll(): Promise<void> {
  const left = [...children];
  for (const child of left) child.kill('SIGKILL');
  await Promise.all(left.map(exitOf));
}

/** A folder that is gone after the tests. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sidelog-test-'));
  folders.push(folder);
  return folder;
}

/** The same in memory where there is such a place: for tests of many files that are not about the disk. */
export function memoryFolder(): string {
  if (!existsSync('/dev/shm')) return temporaryFolder();
  const folder = mkdtempSync('/dev/shm/sidelog-test-');
  folders.push(folder);
  return folder;
}

export interface RunOptions {
  readonly input?: string | Buffer | undefined;
  readonly env?: Record<string, string> | undefined;
  readonly cwd?: string | undefined;
  readonly stdio?: SpawnOptions['stdio'] | undefined;
  /** File descriptors that it may have. */
  readonly openFiles?: number;
  /** As another user, where that is permitted. */
  readonly uid?: number;
  readonly gid?: number;
}

export interface RunResult {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly bytes: Buffer;
}

/** The variables of this process without any SIDELOG_* of the person who runs the tests. */
export function cleanEnvironment(extra: Record<string, string> = {}): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('SIDELOG_'));
  return { ...Object.fromEntries(inherited), ...extra };
}

/** Starts `sidelog ARGS`; ended by force with this process. */
export function spawnSidelog(args: readonly string[], options: RunOptions = {}): ChildProcess {
  const command = [process.execPath, BUILT, ...args];
  if (options.openFiles !== undefined) command.unshift('sh', '-c', `ulimit -n ${options.openFiles}; exec "$0" "$@"`);
  const child = spawn(command[0]!, command.slice(1), {
    env: cleanEnvironment(options.env), cwd: options.cwd, stdio: options.stdio ?? ['pipe', 'pipe', 'pipe'],
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.gid }),
  });
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

/** Runs `sidelog ARGS` to its end; one that does not end is killed (code null). */
export async function run(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const child = spawnSidelog(args, options);
  const timer = setTimeout(() => child.kill('SIGKILL'), RUN_TIMEOUT_MS);
  const ended = exitOf(child);
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(options.input ?? '');
  const code = await ended;
  clearTimeout(timer);
  const bytes = await stdout;
  return { code, bytes, stdout: bytes.toString('utf8'), stderr: (await stderr).toString('utf8') };
}

function collect(stream: NodeJS.ReadableStream | null): Promise<Buffer> {
  if (stream === null) return Promise.resolve(Buffer.alloc(0));
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  return new Promise((done) => stream.on('close', () => done(Buffer.concat(chunks))));
}

/** Resolves with the exit code, null after a signal. */
export function exitOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode);
  return new Promise((done) => child.once('exit', (code) => done(code)));
}

export interface Server {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly address: string;
  readonly port: number;
  readonly dataDir: string;
  /** The parsed ready line. */
  readonly ready: Record<string, unknown>;
  /** All of stdout and stderr so far. */
  readonly output: { stdout: string; stderr: string };
  /** Sends a signal and resolves with the exit code (null: ended by the signal). */
  end(signal?: NodeJS.Signals): Promise<number | null>;
}

export interface ServeOptions extends RunOptions {
  readonly dataDir?: string | undefined;
  readonly args?: readonly string[] | undefined;
  /** `null`: the arguments say it. Default 127.0.0.1:0. */
  readonly listen?: string | null | undefined;
}

/** Starts `sidelog serve` and resolves when it is ready. Rejects with what it said when it ends before. */
export async function serve(options: ServeOptions = {}): Promise<Server> {
  const dataDir = options.dataDir ?? join(temporaryFolder(), 'data');
  const listen = options.listen === null ? [] : ['--listen', options.listen ?? '127.0.0.1:0'];
  const child = spawnSidelog(['serve', '--data-dir', dataDir, ...listen, ...(options.args ?? [])], options);
  child.stdin?.end();
  const output = { stdout: '', stderr: '' };
  child.stderr?.on('data', (chunk: Buffer) => (output.stderr += chunk.toString('utf8')));
  const line = await new Promise<string>((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`not ready after ${READY_TIMEOUT_MS} ms: ${output.stderr}`)), READY_TIMEOUT_MS);
    child.stdout?.on('data', (chunk: Buffer) => {
      output.stdout += chunk.toString('utf8');
      const end = output.stdout.indexOf('\n');
      if (end >= 0) done(output.stdout.slice(0, end));
      if (end >= 0) clearTimeout(timer);
    });
    child.once('close', (code) => {
      clearTimeout(timer);
      fail(new Error(`ended with ${code}: ${output.stderr}`));
    });
  });
  const ready = JSON.parse(line) as Record<string, unknown>;
  const address = ready['address'] as string;
  return {
    child, dataDir, ready, output, address, pid: child.pid!, port: Number(address.slice(address.lastIndexOf(':') + 1)),
    end(signal = 'SIGTERM') {
      child.kill(signal);
      return exitOf(child);
    },
  };
}

/** Resident bytes of a process; null where there is no /proc. */
export function residentBytes(pid: number): number | null {
  try {
    const match = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return match === null ? null : Number(match[1]) * 1024;
  } catch {
    return null;
  }
}

/** Says, in the form that the runner shows, that a test needs what this machine does not have. */
export function skipUnless(condition: boolean, reason: string): boolean {
  if (!condition) console.log(`\n# skipped: ${reason}`);
  return condition;
}

/** File descriptors that a process has open; null where there is no /proc. */
export function openFiles(pid: number): number | null {
  try {
    return readdirSync(`/proc/${pid}/fd`).length;
  } catch {
    return null;
  }
}

/** Whether a program is on the PATH. */
export function hasProgram(name: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(join(folder, name)));
}

/** Waits until `holds` returns something; for what no event tells. */
export async function until<T>(holds: () => T | null | undefined | false | Promise<T | null | undefined | false>, timeoutMs = 10_000): Promise<T> {
  const started = performance.now();
  for (;;) {
    const value = await holds();
    if (value !== null && value !== undefined && value !== false) return value;
    if (performance.now() - started > timeoutMs) throw new Error(`did not come true in ${timeoutMs} ms: ${holds.toString()}`);
    await new Promise((done) => setTimeout(done, 10));
  }
}
