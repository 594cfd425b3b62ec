// What a seed means: how large the world is, who lives in it, and which faults come how often. Swarm
// testing: each world has some faults switched off and the others at wildly different rates, because a
// world in which everything goes wrong at once never gets far enough for the subtle things.
import { Durability } from '../../src/wire/ops.ts';
import { Prng } from '../support/prng.ts';
import type { NetworkOptions } from './net/network.ts';
import type { DiskPaceOptions } from './node/disk-pace.ts';

/** Mean seconds between two faults of a kind; 0 = never. */
export interface FaultRates {
  kill: number;
  powerCut: number;
  stop: number;
  pause: number;
  freeze: number;
  clockJump: number;
  slowDisk: number;
  diskErrors: number;
  diskFull: number;
  rot: number;
  reset: number;
  partition: number;
  clog: number;
  /** Of several nodes: one comes back without data, or without one log; leadership and replicas move. */
  wipe: number;
  logGone: number;
  transfer: number;
  move: number;
}

export type FaultKind = keyof FaultRates;
export const FAULT_KINDS: readonly FaultKind[] = [
  'kill', 'powerCut', 'stop', 'pause', 'freeze', 'clockJump', 'slowDisk', 'diskErrors', 'diskFull', 'rot', 'reset', 'partition', 'clog',
  'wipe', 'logGone', 'transfer', 'move',
];

/** Faults that take several nodes. */
export const CLUSTER_KINDS: ReadonlySet<FaultKind> = new Set(['wipe', 'logGone', 'transfer', 'move']);

export interface LogPlan {
  readonly name: string;
  readonly durability: number;
  readonly intervalMs: number;
  readonly retainBytes: number;
  readonly retainMs: number;
  readonly fenced: boolean;
  /** Voters. */
  readonly replication: number;
}

export interface ClientPlan {
  plain: number;
  conditional: number;
  sequenced: number;
  library: number;
  fenced: number;
  fetchers: number;
  subscribers: number;
  movers: number;
  admins: number;
  rogues: number;
}

export interface SimOptions {
  readonly seed: number;
  readonly nodeCount: number;
  /** Length of phase 1, in simulated seconds. */
  seconds: number;
  readonly logs: LogPlan[];
  readonly clients: ClientPlan;
  readonly faults: FaultRates;
  readonly network: NetworkOptions;
  readonly pace: DiskPaceOptions;
  readonly mapBackend: 'mmap' | 'mirror';
  readonly turnMaxUs: number;
  readonly thinkUs: number;
  readonly recordBytesMax: number;
  readonly depth: number;
  readonly cacheBytes: number;
  readonly memoryLimitBytes: number;
  readonly openLogsMax: number;
  readonly driftPpm: number;
  readonly trims: boolean;
  readonly scratchLogs: number;
  /** Everything is read also before the stop and the power cut at the end. */
  readonly readsEarly: boolean;
}

export interface OptionWishes {
  readonly nodeCount: number;
  readonly seconds?: number | undefined;
  /** Kinds that do not happen, whatever the seed says. */
  readonly without?: readonly FaultKind[];
}

/** Draws all options; every draw happens in every world, so that a wish changes nothing else. */
export function drawOptions(seed: number, wishes: OptionWishes): SimOptions {
  const prng = new Prng(seed);
  const seconds = prng.between(8, 25);
  const faults = drawFaults(prng.fork(), wishes.nodeCount);
  for (const kind of wishes.without ?? []) faults[kind] = 0;
  return {
    seed,
    nodeCount: wishes.nodeCount,
    seconds: wishes.seconds ?? seconds,
    logs: drawLogs(prng.fork(), wishes.nodeCount),
    clients: drawClients(prng.fork()),
    faults,
    network: drawNetwork(prng.fork()),
    ...drawNode(prng.fork(), wishes.nodeCount),
  };
}

function drawFaults(prng: Prng, nodeCount: number): FaultRates {
  const faults = {} as FaultRates;
  for (const kind of FAULT_KINDS) {
    const on = prng.chance(0.4);
    const often = prng.chance(0.3);
    const mean = often ? prng.between(1, 3) : prng.between(4, 30);
    faults[kind] = on && (nodeCount > 1 || !CLUSTER_KINDS.has(kind)) ? mean : 0;
  }
  // A lone node cannot repair itself; too much of it would leave nothing to look at.
  if (nodeCount === 1 && faults.rot > 0) faults.rot = Math.max(6, faults.rot);
  return faults;
}

function drawLogs(prng: Prng, nodeCount: number): LogPlan[] {
  const logs = [plan('default', prng, Durability.FSYNC, false)];
  if (prng.chance(0.7)) logs.push(plan('orders', prng, Durability.FSYNC, false));
  if (prng.chance(0.5)) logs.push(plan('ledger', prng, Durability.FSYNC, true));
  const soft = prng.pick([Durability.INTERVAL, Durability.MEMORY]);
  if (prng.chance(0.25) && nodeCount === 1) logs.push(plan('metrics', prng, soft, false));
  return logs.map((log) => ({
    ...log, replication: nodeCount === 5 && prng.chance(0.5) ? 3 : nodeCount,
  }));
}

function plan(name: string, prng: Prng, durability: number, fenced: boolean): Omit<LogPlan, 'replication'> {
  const retainMs = prng.chance(0.4) ? prng.between(1000, 8000) : 0;
  const retainBytes = prng.chance(0.15) ? prng.between(200_000, 3_000_000) : 0;
  // `default` is made by the node itself.
  const settable = name !== 'default';
  return {
    name, durability, fenced, intervalMs: durability === Durability.INTERVAL ? prng.pick([20, 100, 500]) : 0,
    retainBytes: settable ? retainBytes : 0, retainMs: settable ? retainMs : 0,
  };
}

function drawClients(prng: Prng): ClientPlan {
  return {
    plain: prng.between(1, 3),
    conditional: prng.between(0, 2),
    sequenced: prng.between(1, 3),
    library: prng.between(1, 2),
    fenced: prng.between(1, 3),
    fetchers: prng.between(1, 3),
    subscribers: prng.between(1, 2),
    movers: prng.between(0, 3),
    admins: 1,
    rogues: prng.chance(0.3) ? 1 : 0,
  };
}

function drawNetwork(prng: Prng): NetworkOptions {
  const slow = prng.chance(0.2);
  const delayMinUs = prng.between(20, 200);
  return {
    delayMinUs,
    delayMaxUs: delayMinUs + (slow ? prng.between(1000, 30_000) : prng.between(10, 500)),
    delayRareUs: prng.chance(0.5) ? prng.between(1000, 300_000) : 0,
    splitChance: prng.pick([0, 0, 0.01, 0.2]),
    windowBytes: prng.pick([4096, 65_536, 1_048_576]),
    lossChance: prng.pick([0, 0, 0.01, 0.1]),
    repeatChance: prng.pick([0, 0, 0.01, 0.1]),
    reorderChance: prng.pick([0, 0, 0.05, 0.3]),
  };
}

function drawNode(prng: Prng, nodeCount: number) {
  const syncMinUs = prng.between(50, 500);
  return {
    pace: {
      syncMinUs,
      syncMaxUs: syncMinUs + prng.pick([100, 1000, 10_000]),
      syncRareChance: prng.pick([0, 0.001, 0.01]),
      syncRareUs: prng.between(20_000, 400_000),
    },
    mapBackend: prng.pick(['mmap', 'mirror'] as const),
    turnMaxUs: prng.pick(nodeCount === 1 ? [10, 50, 300, 3000] : [30, 300, 1000, 3000]),
    thinkUs: prng.pick(nodeCount === 1 ? [40_000, 80_000, 140_000] : [150_000, 220_000, 300_000]),
    recordBytesMax: prng.pick(nodeCount === 1 ? [400, 4000, 30_000, 60_000] : [400, 1000, 7500, 15_000]),
    depth: prng.pick(nodeCount === 1 ? [1, 4, 16] : [2, 8, 16, 32]),
    cacheBytes: prng.pick([0, 16_384, 65_536, 1_048_576]),
    memoryLimitBytes: prng.pick([32_768, 262_144, 67_108_864]),
    openLogsMax: prng.pick([1, 256]),
    driftPpm: prng.chance(0.5) ? prng.between(-500, 500) : 0,
    trims: prng.chance(0.6),
    scratchLogs: prng.chance(0.4) ? prng.between(1, 2) : 0,
    readsEarly: prng.chance(0.3),
  };
}

/** The options in one line, for the first line of a run. */
export function describeOptions(options: SimOptions): string {
  const faults = FAULT_KINDS.filter((kind) => options.faults[kind] > 0).map((kind) => `${kind} ${options.faults[kind]}s`);
  const logs = options.logs.map(({ name, durability, retainMs, retainBytes, fenced }) => {
    const kind = durability === Durability.FSYNC ? 'fsync' : durability === Durability.INTERVAL ? 'interval' : 'memory';
    return [name, kind, fenced ? 'fenced' : '', retainMs > 0 ? `${retainMs} ms` : '', retainBytes > 0 ? `${retainBytes} B` : ''].filter((part) => part !== '').join(' ');
  });
  const clients = Object.entries(options.clients).filter(([, count]) => count > 0).map(([kind, count]) => `${kind} ${count as number}`);
  const { network, pace } = options;
  return [
    `seed ${options.seed}: nodes ${options.nodeCount}, ${options.seconds} s`,
    `logs ${logs.join(', ')}`,
    `clients ${clients.join(', ')}`,
    `faults ${faults.length > 0 ? faults.join(', ') : 'none'}`,
    `delay ${network.delayMinUs}-${network.delayMaxUs} us, split ${network.splitChance}, window ${network.windowBytes}`,
    `sync ${pace.syncMinUs}-${pace.syncMaxUs} us, ${options.mapBackend}, turn ${options.turnMaxUs} us`,
    `think ${options.thinkUs} us, depth ${options.depth}, records ${options.recordBytesMax} B, cache ${options.cacheBytes}, memory ${options.memoryLimitBytes}, open ${options.openLogsMax}, drift ${options.driftPpm} ppm`,
  ].join('; ');
}
