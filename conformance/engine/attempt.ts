// Runs one case once: in each of its write modes, with the liveness probe and the canary behind it,
// under a time limit of its own. Whatever is thrown becomes a status here; nothing escapes.
import type { Case, Status } from './case.ts';
import type { WriteMode } from './context.ts';
import { Context } from './context.ts';
import type { RunState } from './context.ts';
import { Failure, HarnessError, Skip } from './failure.ts';
import type { Guard } from './guard.ts';
import { Prng } from './prng.ts';
import type { Trace } from '../net/trace.ts';

export interface Attempt {
  readonly status: Extract<Status, 'pass' | 'fail' | 'skip' | 'error'>;
  readonly reason: string;
  readonly expected?: string;
  readonly actual?: string;
  readonly capability?: string;
  readonly mode?: WriteMode;
  readonly notes: readonly string[];
  readonly traces: readonly Trace[];
}

const CASE_LIMIT_MS = 45_000;
const SLOW_LIMIT_MS = 180_000;
const MODES: readonly WriteMode[] = ['whole', 'bytes', 'joined'];

export async function attempt(run: RunState, it: Case, guard: Guard): Promise<Attempt> {
  const notes: string[] = [];
  for (const mode of it.modes === true ? MODES : MODES.slice(0, 1)) {
    const t = new Context(run, it.id, new Prng(run.seed).fork(it.id));
    t.mode = mode;
    const ended = await once(run, it, t, guard);
    notes.push(...t.notes);
    if (ended !== null) return { ...ended, ...(it.modes ? { mode } : {}), notes };
  }
  return { status: 'pass', reason: '', notes, traces: [] };
}

/** Null = passed. */
async function once(run: RunState, it: Case, t: Context, guard: Guard): Promise<Omit<Attempt, 'notes'> | null> {
  try {
    await guard.before();
    try {
      await limited(it.run(t), (it.slow || it.exclusive ? SLOW_LIMIT_MS : CASE_LIMIT_MS) * Math.max(1, run.scale));
    } finally {
      await t.repair();
    }
    await guard.after(t);
    return null;
  } catch (error) {
    const traces = t.conns.map((conn) => conn.trace).concat(guard.takeTraces());
    if (error instanceof Skip) return { status: 'skip', reason: error.message, capability: error.capability, traces: [] };
    if (error instanceof Failure) {
      return { status: 'fail', reason: error.message, expected: error.expected, actual: error.actual, traces };
    }
    const reason = error instanceof HarnessError ? error.message : `${(error as Error).stack ?? String(error)}`;
    return { status: 'error', reason, traces };
  } finally {
    await guard.cleanUp(t.logs);
    await t.close();
  }
}

function limited(work: Promise<void>, ms: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new HarnessError(`the case did not end in ${ms} ms`)), ms);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
