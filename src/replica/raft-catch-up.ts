// Puts catching up together with one group: who speaks, over what, and what the core is told of it.
import type { RaftDriver } from '../raft/driver/driver.ts';
import type { Envelope, NodeId, ReplicaId } from '../raft/types.ts';
import { CatchUpPeer } from './catch-up/catch-up.ts';
import type { RaftGroupOptions } from './raft-group-options.ts';
import type { RaftLogPort } from './raft-log-port.ts';

const SESSIONS = 2 ** 31 - 1;

export function catchUpPeer(options: RaftGroupOptions, driver: RaftDriver, port: RaftLogPort): CatchUpPeer {
  const { log, raft, transport, catchUp, report } = options;
  const { clusterId, logUid, nodeId, replicaId } = raft.identity;
  const envelope = (to: ReplicaId, toNode: NodeId): Envelope => {
    return { clusterId, logUid, from: replicaId, fromNode: nodeId, to, toNode, term: driver.term };
  };
  const send = (toNode: NodeId, message: Buffer): void => transport.send(toNode, message);
  return new CatchUpPeer(
    raft.identity,
    {
      log, envelope, send, disk: catchUp.disk, snapshot: catchUp.snapshot,
      loadSome: (from, bytesMax, to) => port.loadSome(from, bytesMax, to),
      drawSession: () => 1 + raft.random(SESSIONS),
      done: (wanted, index) => driver.catchUpDone(wanted, index),
      failed: (wanted) => driver.catchUpFailed(wanted),
    },
    {
      envelope, send, stage: catchUp.stage, install: catchUp.install,
      commitIndex: () => driver.node.commitIndex,
      mayInstall: () => driver.node.role !== 'leader' && driver.node.serving !== 'lost' && driver.node.serving !== 'stopped',
      report: (what) => report('catching up has failed', what),
    },
  );
}
