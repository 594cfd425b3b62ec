// Runs cases against one mutant: a server with a named fault, or our pristine server behind a proxy
// that changes what goes through.
import { readFileSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Case } from '../engine/case.ts';
import { execute } from '../engine/execute.ts';
import type { ExecuteOptions } from '../engine/execute.ts';
import type { HookName, HookVars, Hooks } from '../engine/hooks.ts';
import type { CaseResult, Report } from '../engine/result.ts';
import { parseTarget } from '../engine/target.ts';
import type { Target } from '../engine/target.ts';
import { makeMutation } from './mutations.ts';
import { OwnServer } from './own-server.ts';
import { Proxy } from './proxy.ts';
import { SecondServer } from './second-server.ts';
import { sweep } from './sweep.ts';
import { serveTls, tlsFlaws } from './tls-proxy.ts';

export type MutantKind = 'server' | 'proxy' | 'tls';

export function kindOf(name: string): MutantKind {
  return name.startsWith('srv:') ? 'server' : name.startsWith('tls:') ? 'tls' : 'proxy';
}

/** Whether something of this name exists. */
export function exists(name: string, faults: ReadonlySet<string>): boolean {
  switch (kindOf(name)) {
    case 'server': return faults.has(name);
    case 'tls': return tlsFlaws[name.slice(4)] !== undefined;
    case 'proxy': return makeMutation(name) !== null;
  }
}

/** The hooks of the server behind a proxy: what they print about ports is not for the suite. */
class HiddenHooks implements Hooks {
  private readonly inner: Hooks;
  constructor(inner: Hooks) {
    this.inner = inner;
  }
  has(name: HookName): boolean {
    return this.inner.has(name);
  }
  async run(name: HookName, vars: HookVars): Promise<Record<string, unknown>> {
    const { pid } = await this.inner.run(name, vars);
    return pid === undefined ? {} : { pid };
  }
}

export interface TryOptions {
  readonly scale: number;
  readonly seed: number;
  readonly jobs: number;
  readonly reruns?: number;
  readonly transport?: 'plain' | 'tls';
  readonly crashRounds?: number;
}

/** Limits that a few cases can reach. */
const SMALL_FLAGS = ['--max-batch', '128KiB', '--max-logs', '700'];

/** `isSmall`: with limits that some cases need to reach them. */
export function newServer(program: string, mutant?: string, isSmall = false): OwnServer {
  return new OwnServer({
    folder: mkdtempSync(join(tmpdir(), 'sidelog-selftest-')), program, isTestBuild: true, tls: true, mutant, isOwned: true,
    ...(isSmall ? { flags: SMALL_FLAGS, limits: { logs: 700 } } : {}),
  });
}

export function targetOf(server: OwnServer, port?: number): Target {
  const manifest = server.manifest();
  const [endpoint] = manifest.endpoints as { port: number }[];
  const far = manifest.far as { port: number };
  if (port !== undefined) endpoint!.port = far.port = port;
  return parseTarget(manifest, server.path('.'), port === undefined ? server : new HiddenHooks(server));
}

export function runOn(target: Target, cases: readonly Case[], options: TryOptions): Promise<Report> {
  const settings: ExecuteOptions = {
    scale: options.scale, seed: options.seed, transport: options.transport ?? 'plain', crashRounds: options.crashRounds ?? 2, reruns: options.reruns ?? 0,
    jobs: options.jobs, knownFailing: [], knownFlaky: [], provisionalFails: true, onResult: () => undefined, repro: (id) => `--case ${id}`,
    filter: { profiles: null, cases: [], skip: [], level: 'may' },
  };
  return execute(target, cases, settings);
}

/** Cases that want a server with small limits. */
const SMALL_CASES = ['log/list-in-frames', 'log/too-many'];

export type BaseName = 'own' | 'small' | 'second';

/** The running servers that mutants of the proxy stand before. */
export interface Bases {
  readonly own: OwnServer;
  readonly small: OwnServer;
  readonly second: SecondServer | null;
}

/** Which of our servers a case is for: most for any, some for one with small limits, some for one that lacks a profile. */
export function baseOf(it: Case): BaseName {
  if (SMALL_CASES.includes(it.id)) return 'small';
  return it.needs.some((need) => need.startsWith('absent:') && need !== 'absent:peers') ? 'second' : 'own';
}

/** `own` null: a fresh server of ours, for this mutant alone. */
export type MutantBases = Omit<Bases, 'own'> & { readonly own: OwnServer | null };

export async function startBases(program: string): Promise<Bases> {
  const own = newServer(program);
  const small = newServer(program, undefined, true);
  const second = SecondServer.isThere() ? new SecondServer() : null;
  await Promise.all([own.start(), small.start(), second?.start()]);
  return { own, small, second };
}

export async function stopBases({ own, small, second }: Bases): Promise<void> {
  await Promise.all([own.destroy(), small.destroy(), second?.stop()]);
}

/** A case's result against the mutant, for each case that could be tried. */
export async function runMutant(name: string, cases: readonly Case[], program: string, bases: MutantBases, options: TryOptions): Promise<CaseResult[]> {
  if (kindOf(name) === 'server') {
    const results: CaseResult[] = [];
    for (const isSmall of [false, true]) {
      const own = cases.filter((it) => (baseOf(it) === 'small') === isSmall);
      if (own.length === 0) continue;
      const server = newServer(program, name, isSmall);
      try {
        await server.start();
        results.push(...(await runOn(targetOf(server), own, options)).cases);
      } finally {
        await server.destroy();
      }
    }
    return results;
  }
  const results: CaseResult[] = [];
  for (const base of ['own', 'small', 'second'] as const) {
    const own = cases.filter((it) => baseOf(it) === base);
    if (own.length === 0) continue;
    const isFresh = base === 'own' && bases.own === null;
    const server = isFresh ? newServer(program) : bases[base];
    if (server === null) continue;
    if (isFresh) await (server as OwnServer).start();
    try {
      results.push(...(await behindProxy(name, own, server, options)));
    } finally {
      if (isFresh) await (server as OwnServer).destroy();
    }
  }
  return results;
}

async function behindProxy(name: string, cases: readonly Case[], base: OwnServer | SecondServer, options: TryOptions): Promise<readonly CaseResult[]> {
  const isOwn = base instanceof OwnServer;
  const behind = { host: '127.0.0.1', port: isOwn ? base.state().port : base.port };
  await sweep(behind);
  const target = (port: number): Target => (isOwn ? targetOf(base, port) : base.target(port));
  if (kindOf(name) === 'tls') {
    if (!isOwn) return [];
    const proxy = await serveTls(name.slice(4), behind, { cert: readFileSync(base.path('cert.pem')), key: readFileSync(base.path('key.pem')) });
    try {
      return (await runOn(target(proxy.port), cases, options)).cases;
    } finally {
      await proxy.close();
    }
  }
  const proxy = new Proxy(() => behind, makeMutation(name)!);
  try {
    return (await runOn(target(await proxy.listen()), cases, options)).cases;
  } finally {
    await proxy.close();
  }
}
