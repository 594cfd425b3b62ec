// Runs a scenario: blocks of commands, `----`, and what they print.
//
//   # a comment                     blocks are separated by blank lines
//   cluster voters=3
//   elect 1
//   ----
//   1 leads term 1
//
// Printed is what replicas want done (roles, commits, truncations, configurations, reads …), and
// messages while `messages on`. See COMMANDS below for all commands.
import { assert } from '../../../src/wire/assert.ts';
import type { ConfigChange } from '../../../src/raft/config.ts';
import type { Effects } from '../../../src/raft/effects.ts';
import type { Message, Serving } from '../../../src/raft/types.ts';
import { Cluster } from './cluster.ts';
import { describeConfig, describeMessage, describeStatus } from './describe.ts';
import type { CatchUpImage, Replica } from './replica.ts';

export interface Block {
  readonly comment: string[];
  readonly commands: string[];
  readonly expected: string[];
}

export function parseScript(text: string): Block[] {
  return text
    .split(/\n\s*\n/)
    .map((chunk) => chunk.split('\n').filter((line) => line !== ''))
    .filter((lines) => lines.length > 0)
    .map((lines) => {
      const divider = lines.indexOf('----');
      const head = divider < 0 ? lines : lines.slice(0, divider);
      return {
        comment: head.filter((line) => line.startsWith('#')),
        commands: head.filter((line) => !line.startsWith('#')),
        expected: divider < 0 ? [] : lines.slice(divider + 1),
      };
    });
}

/** The script with what its commands really print. */
export function rewriteScript(text: string): string {
  const run = new ScriptRun();
  const blocks = parseScript(text).map(({ comment, commands }) => {
    if (commands.length === 0) return comment.join('\n');
    return [...comment, ...commands, '----', ...run.block(commands)].join('\n');
  });
  return `${blocks.join('\n\n')}\n`;
}

type Command = (run: ScriptRun, args: string[]) => void;

export class ScriptRun {
  private clusterOrNull: Cluster | null = null;
  private lines: string[] = [];
  private messagesOn = false;
  copies: Message[] = [];
  private images = new Map<number, CatchUpImage>();

  get cluster(): Cluster {
    assert(this.clusterOrNull !== null, 'a scenario begins with `cluster`');
    return this.clusterOrNull;
  }

  print(line: string): void {
    this.lines.push(line);
  }

  block(commands: readonly string[]): string[] {
    this.lines = [];
    for (const command of commands) {
      const [name, ...args] = command.trim().split(/\s+/);
      const run = COMMANDS[name!];
      if (run === undefined) throw new Error(`there is no command ${name}`);
      run(this, args);
    }
    return this.lines.length > 0 ? this.lines : ['nothing'];
  }

  begin(args: string[]): void {
    const options = Object.fromEntries(args.map((arg) => arg.split('=')));
    const number = (key: string): number | undefined => (key in options ? Number(options[key]) : undefined);
    const settings: Record<string, unknown> = { sleepWhenIdle: 'sleep' in options };
    for (const [key, setting] of [['append', 'appendSizeMax'], ['probe', 'probeSizeMax'], ['window', 'inflightSizeMax']]) {
      const value = number(key!);
      if (value !== undefined) settings[setting!] = value;
    }
    this.clusterOrNull = new Cluster({ voters: number('voters') ?? 3, learners: number('learners') ?? 0, settings });
    this.cluster.onEffects = (replica, effects) => this.effects(replica, effects);
    this.cluster.onMessage = (message) => {
      if (this.messagesOn) this.print(`  ${describeMessage(message)}`);
    };
    this.cluster.start();
    // With leader=N the story begins when N leads and everybody knows what is committed.
    const leader = number('leader');
    if (leader === undefined) return;
    this.cluster.settle();
    if (this.cluster.leader()?.id !== leader) this.cluster.elect(leader);
    this.cluster.run(200);
    this.lines = [`${leader} ${roleLine(this.cluster.at(leader))}, all is committed`];
  }

  /** Prints effects in the order in which a driver acts on them. */
  private effects(replica: Replica, effects: Effects): void {
    const { id } = replica;
    for (const op of effects.log) {
      if (op.kind === 'truncate') this.print(`${id} truncates after ${op.afterIndex} (generation ${op.generation})`);
    }
    if (effects.committedTo >= effects.committedFrom) {
      this.print(`${id} applies ${range(effects.committedFrom, effects.committedTo)}`);
    }
    for (const { sequence, index } of effects.reads) this.print(`${id} may answer reads up to ${sequence} at index ${index}`);
    if (effects.readsFailedTo > 0) this.print(`${id} fails reads up to ${effects.readsFailedTo}`);
    if (effects.role) this.print(`${id} ${roleLine(replica)}`);
    if (effects.configChanged && replica.incarnation > 0) this.print(`${id} ${describeConfig(replica.running())}`);
    for (const { replicaId, match } of effects.catchUps) this.print(`${id} must catch up ${replicaId} from ${match}`);
    for (const { nodeId, idle } of effects.idleChanges) this.print(`${id} ${idle ? 'rests' : 'stops resting'} towards ${nodeId}`);
    if (effects.awake !== null) this.print(`${id} ${effects.awake ? 'wakes up' : 'falls asleep'}`);
    if (effects.fault) this.print(`${id} fault: ${effects.fault}`);
  }

  setMessages(on: boolean): void {
    this.messagesOn = on;
  }

  /** Takes messages matching `[kind] a->b` off the network; all of them without a filter. */
  take(args: string[]): Message[] {
    const link = args.find((arg) => arg.includes('->'));
    const kind = args.find((arg) => /^[A-Z]/.test(arg));
    const matches = (message: Message): boolean =>
      (link === undefined || link === `${message.from}->${message.to}`) &&
      (kind === undefined || describeMessage(message).includes(` ${kind} `));
    const { network } = this.cluster;
    const taken = network.filter(matches);
    this.cluster.network = network.filter((message) => !matches(message));
    return taken;
  }

  copy(args: string[]): void {
    const before = this.cluster.network;
    this.copies = this.take(args);
    this.cluster.network = before;
  }

  change(args: string[]): void {
    const [id, kind, target] = args;
    const replica = this.cluster.at(Number(id));
    const { index } = replica.running().config;
    const result = replica.input((node) => node.changeConfig(index, changeOf(kind!, Number(target))));
    if (typeof result === 'string') this.print(`refused: ${result}`);
  }

  capture(id: number): void {
    this.images.set(id, this.cluster.at(id).capture());
  }

  install(from: number, to: number): void {
    const image = this.images.get(from);
    assert(image !== undefined, 'capture before install');
    const done = this.cluster.at(to).install(image);
    this.print(done ? `${to} has installed up to ${image.commitIndex}` : `${to} has more already`);
    const leader = this.cluster.at(from);
    if (leader.up) leader.input((node) => node.catchUpDone(to, image.commitIndex));
  }
}

function changeOf(kind: string, replicaId: number): ConfigChange {
  if (kind === 'add-learner') return { kind: 'addLearner', member: { replicaId, nodeId: `n${replicaId}` } };
  assert(kind === 'promote' || kind === 'demote' || kind === 'remove', `there is no change ${kind}`);
  return { kind, replicaId };
}

function range(from: number, to: number): string {
  return from === to ? `${from}` : `${from}-${to}`;
}

function roleLine(replica: Replica): string {
  const node = replica.running();
  switch (node.role) {
    case 'leader':
      return `leads term ${node.term}`;
    case 'candidate':
      return `campaigns in term ${node.term}`;
    case 'preCandidate':
      return `asks around in term ${node.term}`;
    default:
      return node.leader === 0 ? `knows no leader in term ${node.term}` : `follows ${node.leader} in term ${node.term}`;
  }
}

const at = (run: ScriptRun, id: string | undefined): Replica => run.cluster.at(Number(id));

const COMMANDS: Record<string, Command> = {
  cluster: (run, args) => run.begin(args),
  messages: (run, [on]) => run.setMessages(on === 'on'),

  // Time, disk and network. `run` and `settle` persist and deliver everything.
  run: (run, [ms]) => void run.cluster.run(Number(ms)),
  settle: (run) => void run.cluster.settle(),
  tick: (run, [id, ms, step]) => {
    const stepMs = Number(step ?? 50);
    for (let t = 0; t < Number(ms); t += stepMs) at(run, id).input((node) => node.tick(stepMs));
  },
  persist: (run, [id]) => void at(run, id).persist(),
  'persist-hard': (run, [id]) => void at(run, id).persistHard(),
  'persist-write': (run, [id]) => void at(run, id).persistWrite(),
  deliver: (run, args) => run.take(args).forEach((message) => run.cluster.deliver(message)),
  drop: (run, args) => {
    for (const message of run.take(args)) run.print(`lost: ${describeMessage(message)}`);
  },
  // The network repeats itself: `copy` remembers messages under way, `replay` sends them again.
  copy: (run, args) => run.copy(args),
  replay: (run) => void run.cluster.network.push(...run.copies),
  network: (run) => run.cluster.network.forEach((message) => run.print(`  ${describeMessage(message)}`)),
  partition: (run, args) => {
    const groups = args.join(' ').split('|').map((group) => group.trim().split(' ').map(Number));
    run.cluster.partition(...groups);
  },
  cut: (run, [link]) => {
    const [from, to] = link!.split('->').map(Number);
    const before = run.cluster.link;
    run.cluster.link = (a, b) => before(a, b) && !(a === from && b === to);
  },
  heal: (run) => run.cluster.heal(),
  reset: (run, [id, node]) => at(run, id).input((one) => one.peerReset(`n${node}`)),
  silent: (run, [id, node, ms]) => at(run, id).input((one) => one.peerSilent(`n${node}`, Number(ms))),

  // Processes.
  crash: (run, [id, survivors]) => at(run, id).crash(Number(survivors ?? 0), Number(survivors ?? 0)),
  start: (run, [id]) => at(run, id).start(),
  add: (run, [id]) => void run.cluster.addReplica(Number(id)),
  serving: (run, [id, serving]) => at(run, id).input((node) => node.setServing(serving as Serving)),
  'start-as': (run, [id, serving]) => {
    at(run, id).serving = serving as Serving;
    at(run, id).start();
  },

  // Requests.
  campaign: (run, [id]) => at(run, id).input((node) => node.campaign()),
  elect: (run, [id]) => void run.cluster.elect(Number(id)),
  propose: (run, [id, count]) => {
    if (at(run, id).propose(Number(count ?? 1)) === 0) run.print('refused');
  },
  read: (run, [id]) => {
    const sequence = at(run, id).input((node) => node.requestRead());
    run.print(sequence === 0 ? 'refused' : `read ${sequence}`);
  },
  'waiting-readers': (run, [id, on]) => at(run, id).input((node) => node.setWaitingReaders(on === 'on')),
  transfer: (run, [id, target]) => {
    const refusal = at(run, id).input((node) => node.transferLeadership(Number(target ?? 0)));
    if (refusal !== null) run.print(`refused: ${refusal}`);
  },
  change: (run, args) => run.change(args),

  // Snapshots and tails.
  compact: (run, [id, first]) => at(run, id).compact(Number(first)),
  capture: (run, [id]) => run.capture(Number(id)),
  install: (run, [from, to]) => run.install(Number(from), Number(to)),
  'catch-up-failed': (run, [id, to]) => at(run, id).input((node) => node.catchUpFailed(Number(to))),
  'cut-tail': (run, [id]) => {
    const replica = at(run, id);
    replica.writes = [];
    replica.input((node) => node.tailCut(node.durableIndex));
  },

  // Looking.
  status: (run, ids) => {
    for (const replica of run.cluster.replicas) {
      if (ids.length === 0 || ids.includes(`${replica.id}`)) run.print(describeStatus(replica));
    }
  },
  peers: (run, [id]) => {
    for (const peer of at(run, id).running().peers) {
      const { replicaId, state, match, next, voter, caughtUp, alive } = peer;
      const flags = [voter ? 'voter' : 'learner', caughtUp ? 'caught up' : 'behind', alive ? 'alive' : 'silent'];
      run.print(`${replicaId}: ${state} match ${match} next ${next} (${flags.join(', ')})`);
    }
  },
  state: (run, [a, b]) => {
    const same = JSON.stringify(at(run, a).state) === JSON.stringify(at(run, b).state);
    run.print(same ? `${a} and ${b} have applied the same ${at(run, a).state.length}` : `${a} and ${b} differ`);
  },
};
