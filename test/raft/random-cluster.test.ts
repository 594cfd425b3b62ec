// Random clusters: the core under loss, reordering, duplication, crashes that lose what was not
// persisted, snapshots, configuration changes, transfers and reads; checked by support/checkers.ts
// (I1–I7) while it runs. Then everything heals, and the cluster must elect, commit and agree.
//
// Replay one world with SEED=n. Every choice comes from the seed.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { runWorld } from './support/random-world.ts';
import type { WorldReport } from './support/random-world.ts';

const test = suite('raft/random cluster');
const SEEDS = process.env['SEED'] === undefined ? range(1, Number(process.env['SEEDS'] ?? 100)) : [Number(process.env['SEED'])];
const STEPS = Number(process.env['STEPS'] ?? 5000);

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

function add(a: WorldReport, b: WorldReport): WorldReport {
  return Object.fromEntries(Object.entries(a).map(([key, n]) => [key, n + b[key as keyof WorldReport]])) as unknown as WorldReport;
}

const totals: WorldReport[] = [];

test('worlds of 1, 3 and 5 replicas keep the invariants, and heal', () => {
  for (const seed of SEEDS) {
    try {
      totals.push(runWorld(seed, STEPS));
    } catch (error) {
      console.log(`replay with: SEED=${seed} STEPS=${STEPS} node test/run.mjs raft/random`);
      throw error;
    }
  }
});

test('together they reached everything worth reaching', () => {
  if (process.env['REPORT'] !== undefined) console.log(totals.reduce(add));
  if (SEEDS.length < 20) return;
  const sum = (key: keyof WorldReport): number => totals.reduce((n, report) => n + report[key], 0);
  for (const key of Object.keys(totals[0]!) as (keyof WorldReport)[]) {
    assert.ok(sum(key) > 0, `no world reached: ${key}`);
  }
});

test.run();
