// Runs cases against one mutant: a server with a named fault, or our pristine server behind a proxy
// that changes what goes through.
import { readFileSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Case } from '../engine/case.ts';
import { execute } from '../engine/execute.ts';
import type { ExecuteOptions } from '../engine/execute.ts';
import type { HookName, HookVars, Hooks } from '../engine/hooks.ts';
import type { Report } from '../engine/result.ts';
import { parseTarget } from '../engine/target.ts';
import type { Target } from '../engine/target.ts';
import { makeMutation } from './mutations.ts';
import { OwnServer } from './own-server.ts';
import { Proxy } from './proxy.ts';
import { serveTls, tlsFlaws } from './tls-proxy.ts';

export type MutantKind = 'server' | 'proxy' | 'tls';

export function kindOf(name: string): MutantKind {
  return name.startsWith('srv:') ? 'server' : name.startsWith('tls:') ? 'tls' : 'proxy';
}

/** Whether something of this name exists. */
export function exists(name: string, serverMutants: readonly string[]): boolean {
  switch (kindOf(name)) {
    case 'server': return serverMutants.includes(name);
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

export function newServer(program: string, mutant?: string): OwnServer {
  return new OwnServer({ folder: mkdtempSync(join(tmpdir(), 'sidelog-selftest-')), program, isTestBuild: true, tls: true, mutant });
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

/** @param pristine a running test build without a fault; mutants of the proxy stand before it. */
export async function runMutant(name: string, cases: readonly Case[], program: string, pristine: OwnServer, options: TryOptions): Promise<Report> {
  if (kindOf(name) === 'server') {
    const server = newServer(program, name);
    try {
      await server.start();
      return await runOn(targetOf(server), cases, options);
    } finally {
      await server.destroy();
    }
  }
  const behind = (): { host: string; port: number } => ({ host: '127.0.0.1', port: pristine.state().port });
  if (kindOf(name) === 'tls') {
    const proxy = await serveTls(name.slice(4), behind(), { cert: readFileSync(pristine.path('cert.pem')), key: readFileSync(pristine.path('key.pem')) });
    try {
      return await runOn(targetOf(pristine, proxy.port), cases, options);
    } finally {
      await proxy.close();
    }
  }
  const port = behind();
  const proxy = new Proxy(() => port, makeMutation(name)!);
  try {
    return await runOn(targetOf(pristine, await proxy.listen()), cases, options);
  } finally {
    await proxy.close();
  }
}
