// Replicas and messages in one line each, for scenarios and failure reports.
import type { Configuration } from '../../../src/raft/config.ts';
import type { RaftNode } from '../../../src/raft/node.ts';
import { MessageKind } from '../../../src/raft/types.ts';
import type { Append, Message, TermRun } from '../../../src/raft/types.ts';
import type { Replica } from './replica.ts';

const NAMES = new Map<number, string>(Object.entries(MessageKind).map(([name, kind]) => [kind, name]));

export function describeMessage(message: Message): string {
  return `${message.from}->${message.to} ${NAMES.get(message.kind)} t${message.term}${details(message)}`;
}

function details(m: Message): string {
  switch (m.kind) {
    case MessageKind.PreVote:
    case MessageKind.Vote:
      return ` log ${m.lastIndex}/t${m.lastTerm}${m.transfer ? ' transfer' : ''}`;
    case MessageKind.PreVoteReply:
    case MessageKind.VoteReply:
      return ` for t${m.forTerm} ${m.granted ? 'yes' : 'no'}`;
    case MessageKind.Append:
      return describeAppend(m);
    case MessageKind.AppendAck:
      return ` match ${m.match} commit ${m.commitIndex}${m.wantsCommit ? ' wants commit' : ''}`;
    case MessageKind.AppendReject:
      return ` of ${m.prevIndex} hint ${m.hintIndex}/t${m.hintTerm}`;
    case MessageKind.Heartbeat:
    case MessageKind.HeartbeatAck:
      return ` commit ${m.commitIndex} round ${m.readRound}${m.idle ? ' idle' : ''}`;
    case MessageKind.ReadRequest:
      return ` up to ${m.sequence}`;
    case MessageKind.ReadReply:
      return ` up to ${m.sequence} at ${m.index}`;
    default:
      return '';
  }
}

function describeAppend({ prevIndex, prevTerm, fromIndex, toIndex, runs, configs, commitIndex }: Append): string {
  const entries = toIndex < fromIndex ? 'no entries' : `${fromIndex}-${toIndex} ${describeRuns(runs)}`;
  const config = configs.length === 0 ? '' : ` config at ${configs.map((entry) => entry.index).join(' ')}`;
  return ` after ${prevIndex}/t${prevTerm}: ${entries}${config} commit ${commitIndex}`;
}

function describeRuns(runs: readonly TermRun[]): string {
  return runs.map(({ fromIndex, term }, i) => (i === 0 ? `t${term}` : `t${term} from ${fromIndex}`)).join(' ');
}

function ids(config: Configuration): string {
  const list = (members: readonly { replicaId: number }[]): string => members.map((m) => m.replicaId).join(' ');
  const learners = config.learners.length === 0 ? '' : ` learners ${list(config.learners)}`;
  return `voters ${list(config.voters)}${learners}`;
}

export function describeConfig(node: RaftNode): string {
  const { index, config } = node.config;
  return `config ${index}: ${ids(config)}${node.configCommitted ? '' : ' (uncommitted)'}`;
}

export function describeStatus(replica: Replica): string {
  if (!replica.up) return `${replica.id}: down`;
  const n = replica.running();
  const terms = replica.entries.map((entry) => entry.term);
  const runs = terms.flatMap((term, i) => (i === 0 || terms[i - 1] !== term ? [`t${term}×${count(terms, term)}`] : []));
  const log = `log ${n.firstIndex}-${n.lastIndex} ${runs.join(' ') || 'empty'}`;
  const who = n.leader === 0 ? 'no leader' : `leader ${n.leader}`;
  const extras = [n.serving === 'ready' ? '' : n.serving, n.asleep ? 'asleep' : ''].filter((extra) => extra !== '');
  const commit = `durable ${n.durableIndex} commit ${n.commitIndex} applied ${n.appliedIndex}`;
  return [`${replica.id}: ${n.role} t${n.term}`, who, log, commit, ids(n.config.config), ...extras].join(', ');
}

function count(terms: readonly number[], term: number): number {
  return terms.filter((other) => other === term).length;
}
