// What a case gets: connections, fresh logs, expectations, hooks and scaled times. Everything that a
// case opens is closed, and every log it made is deleted, when the case is over.
import type * as tls from 'node:tls';
import { Client } from '../net/client.ts';
import { Conn } from '../net/conn.ts';
import type { Endpoint } from '../net/conn.ts';
import { decodeRequest } from '../wire/codec.ts';
import type { Frame } from '../wire/frame.ts';
import type { InputOf } from '../wire/layouts.ts';
import { Failure, Skip, show } from './failure.ts';
import { UNDO } from './hooks.ts';
import type { HookName, HookVars } from './hooks.ts';
import type { Prng } from './prng.ts';
import { Rules } from './rules.ts';
import type { Violation } from './rules.ts';
import type { Target } from './target.ts';
import { tlsOptions } from './target.ts';

export type WriteMode = 'whole' | 'bytes' | 'joined';
export type Transport = 'plain' | 'tls';

/** What all cases of one run share. */
export interface RunState {
  readonly target: Target;
  readonly scale: number;
  readonly seed: number;
  readonly transport: Transport;
  /** Which features the target has, by declaration or by trying. */
  readonly features: Map<string, boolean>;
  readonly violations: Violation[];
  /** Part of every name, so that several runs can share a target. */
  readonly runId: string;
  /** Names given out so far: a rerun of a case gets others. */
  nameCount: number;
  readonly crashRounds: number;
  /** A start of the server that is under way because it was found dead. */
  revival: Promise<void> | null;
  /** How often the suite has started the server. */
  starts: number;
}

export interface ConnectOptions {
  readonly endpoint?: Endpoint;
  readonly transport?: Transport;
  readonly tls?: tls.ConnectionOptions;
  readonly label?: string;
  readonly mode?: WriteMode;
}

export interface ReadyOptions extends ConnectOptions {
  readonly hello?: InputOf<'HELLO'>;
}

/** How long a reaction may take before it counts as none, before scaling. */
const PATIENCE_MS = 5_000;

export class Context {
  readonly run: RunState;
  readonly caseId: string;
  readonly random: Prng;
  readonly conns: Conn[] = [];
  readonly logs: string[] = [];
  mode: WriteMode = 'whole';
  /** Lines for `info` results. */
  readonly notes: string[] = [];
  /** The case changes the process on purpose: no probe of the canary. */
  disruptive = false;
  private readonly began = performance.now();
  private readonly usedHooks = new Set<HookName>();

  constructor(run: RunState, caseId: string, random: Prng) {
    this.run = run;
    this.caseId = caseId;
    this.random = random;
  }

  get target(): Target {
    return this.run.target;
  }

  /** A time for people's machines, scaled by --timeout-scale. */
  ms(value: number): number {
    return value * this.run.scale;
  }

  has(feature: string): boolean {
    return this.run.features.get(feature) === true;
  }

  name(prefix = 'log'): string {
    const slug = this.caseId.replace(/[^A-Za-z0-9]+/g, '-').slice(0, 60);
    return `${prefix}-${this.run.runId}-${slug}-${this.run.nameCount++}-${this.mode[0]}`;
  }

  async connect(options: ConnectOptions = {}): Promise<Conn> {
    const transport = options.transport ?? this.run.transport;
    const conn = await Conn.dial(options.endpoint ?? this.target.endpoints[0]!, {
      tls: transport === 'tls' ? { ALPNProtocols: ['sidelog/1'], ...tlsOptions(this.target), ...options.tls } : undefined,
      label: options.label ?? `connection ${this.conns.length + 1}`,
      began: this.began,
      patienceMs: this.ms(PATIENCE_MS),
      bytewise: (options.mode ?? this.mode) === 'bytes',
    });
    this.conns.push(conn);
    return conn;
  }

  /** A connection watched by the rules, before its preface. */
  async client(options: ConnectOptions = {}): Promise<Client> {
    const conn = await this.connect(options);
    const rules = new Rules((rule, text) => this.run.violations.push({ rule, text, caseId: this.caseId }));
    conn.onFrame = (frame: Frame) => rules.received(frame);
    const client = new Client(conn, (options.mode ?? this.mode) === 'joined');
    client.rules = rules;
    return client;
  }

  /** A READY connection. */
  async ready(options: ReadyOptions = {}): Promise<Client> {
    const client = await this.client(options);
    const hello = await client.open(options.hello);
    if (hello.auth_required === 1) {
      if (this.target.token === null) throw new Skip('auth', 'the target wants AUTH and the target file has no auth.token');
      await client.ok('AUTH', { mech: 'token', data: Buffer.from(this.target.token) });
    }
    return client;
  }

  /** Makes a log (durability fsync unless said otherwise) and returns its name. */
  async log(client: Client, settings: InputOf<'CREATE_LOG'> = {}): Promise<string> {
    const log = typeof settings.log === 'string' ? settings.log : this.name();
    await client.ok('CREATE_LOG', { durability: 1, ...settings, log });
    this.logs.push(log);
    return log;
  }

  async hook(name: HookName, vars: HookVars = {}): Promise<Record<string, unknown>> {
    this.usedHooks.add(name);
    return this.target.hooks.run(name, { node: this.target.endpoints[0]!.node, ...vars });
  }

  /** Runs the start hook and takes over the address and pid that it prints. Faults are taken back before: a start on a slow disk takes long. */
  async start(): Promise<void> {
    await this.repair();
    const printed = await this.hook('start');
    this.run.starts++;
    const endpoint = this.target.endpoints[0]! as { port: number; pid: number | null; host: string };
    if (typeof printed.port === 'number') endpoint.port = printed.port;
    if (typeof printed.host === 'string') endpoint.host = printed.host;
    endpoint.pid = typeof printed.pid === 'number' ? printed.pid : null;
    if (typeof printed.farPort === 'number' && this.target.far) (this.target.far as { port: number }).port = printed.farPort;
  }

  /** Stops or kills the server and starts it again with the same data. */
  async restart(how: 'stop' | 'kill' | 'powerloss'): Promise<void> {
    this.disruptive = true;
    await this.hook(how);
    await this.start();
  }

  /** For cases about time limits, which have nothing to wait for. Not scaled: the protocol's times are not. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }

  skip(capability: string, reason: string): never {
    throw new Skip(capability, reason);
  }

  note(text: string): void {
    this.notes.push(text);
  }

  fail(what: string, expected: string, actual: string): never {
    throw new Failure(what, expected, actual);
  }

  ok(condition: boolean, what: string, actual: unknown = 'it is not so'): void {
    if (!condition) throw new Failure(what, what, typeof actual === 'string' ? actual : show(actual));
  }

  equal(actual: unknown, expected: unknown, what: string): void {
    if (show(actual) !== show(expected)) throw new Failure(what, show(expected), show(actual));
  }

  /** Demands that nothing arrived on `client` that nobody asked for. */
  async quiet(client: Client, what: string): Promise<void> {
    await client.barrier();
    const frame = client.unexpected[0];
    if (frame !== undefined) {
      throw new Failure(what, 'no frame', `a frame with op ${frame.op.toString(16)}, id ${frame.id}, status ${frame.status}`);
    }
  }

  /** Takes back the faults that the case asked for, however it ended. */
  async repair(): Promise<void> {
    const used = [...this.usedHooks];
    this.usedHooks.clear();
    for (const name of used) if (UNDO[name]) await this.hook(...UNDO[name]);
    this.usedHooks.clear();
  }

  async close(): Promise<void> {
    for (const conn of this.conns) conn.destroy();
    this.conns.length = 0;
  }
}

/** For cases that look at a raw GOAWAY. */
export function decodeGoaway(frame: Frame): Record<string, unknown> {
  return decodeRequest('GOAWAY', frame.payload);
}
