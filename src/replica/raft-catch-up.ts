// Puts catching up together with one group: who speaks, over what, and what the core is told of it.
import type { RaftDriver } from '../raft/driver/driver.ts';
import { memberOf } from '../raft/config.ts';
import type { Envelope, Index, NodeId, ReplicaId } from '../raft/types.ts';
import { NOBODY } from '../raft/types.ts';
import { CatchUpPeer } from './catch-up/catch-up.ts';
import type { Other } from './catch-up/repairer.ts';
import type { RaftGroupOptions } from './raft-group-options.ts';
import type { RaftLogPort } from './raft-log-port.ts';

const SESSIONS = 2 ** 31 - 1;

export function catchUpPeer(options: RaftGroupOptions, driver: RaftDriver, port: RaftLogPort): CatchUpPeer {
  const { log, raft, transport, journal, catchUp, report } = options;
  const { node } = driver;
  const commitIndex = (): Index => node.commitIndex;
  // Behind a cut that is still being made the files hold other entries than those that are committed.
  const committedHere = (): Index => node.reportedIndex;
  const { clusterId, logUid, nodeId, replicaId } = raft.identity;
  const envelope = (to: ReplicaId, toNode: NodeId): Envelope => {
    // The one on disk (I3), also when this replica was closed for an install and its successor has gone on.
    const term = journal.inDoubt ? 0 : (journal.get(options.logUid, replicaId)?.term ?? 0);
    return { clusterId, logUid, from: replicaId, fromNode: nodeId, to, toNode, term };
  };
  const send = (toNode: NodeId, message: Buffer): void => transport.send(toNode, message);
  return new CatchUpPeer(
    raft.identity,
    {
      log, envelope, send, disk: catchUp.disk, snapshot: catchUp.snapshot,
      loadSome: (from, bytesMax, to) => port.loadSome(from, bytesMax, to),
      drawSession: () => 1 + raft.random(SESSIONS),
      commitIndex: committedHere,
      mayOffer: (from, fromNode) => node.role === 'leader' && memberOf(node.config.config, from)?.nodeId === fromNode,
      done: (wanted, index) => driver.catchUpDone(wanted, index),
      failed: (wanted) => driver.catchUpFailed(wanted),
    },
    {
      envelope, send, stage: catchUp.stage, install: catchUp.install,
      commitIndex,
      mayInstall: () => node.role !== 'leader' && node.serving !== 'lost' && node.serving !== 'stopped',
      report: (what) => report('catching up has failed', what),
    },
    {
      log, envelope, send, commitIndex: committedHere, install: catchUp.install,
      leader: () => leaderOf(driver),
      handOver: () => void driver.transferLeadership(NOBODY),
      resign: () => driver.resign(),
      report: (what) => report('repair has failed', what),
    },
    options.garbled,
  );
}

function leaderOf({ node }: RaftDriver): Other | null {
  return node.role === 'leader' || node.leader === NOBODY ? null : { replicaId: node.leader, nodeId: node.leaderNode };
}
