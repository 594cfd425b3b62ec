// Answers to the admin requests of plane C (§4), ops 10–18. Ids are read as views of the frame.
import { answer, id16, list, oneOf, str, struct, tlv, u32, u64, u8 } from './layout.ts';
import type { Values } from './layout.ts';
import { Durability, NodeState, Role } from './ops.ts';

/** TLV 2 of an answer: sent, not critical, when the request did not carry it. */
export const logUidAnswerTlv = tlv(2, false, id16);

const role = oneOf(Role.VOTER, Role.LEARNER);

export type ClusterNode = Values<typeof clusterNode>;
export const clusterNode = struct({
  node: str,
  nodeId: id16,
  address: str,
  state: oneOf(NodeState.ALIVE, NodeState.SUSPECT, NodeState.DEAD, NodeState.LEFT),
  role,
  zone: str,
  version: str,
});

export type DescribeClusterResponse = Values<typeof describeClusterResponse>;
export const describeClusterResponse = answer({
  clusterId: id16,
  term: u64,
  /** "" = none. */
  catalogLeader: str,
  nodes: list(clusterNode),
});

export type LogReplica = Values<typeof logReplica>;
export const logReplica = struct({ node: str, role });

const logFields = {
  log: str,
  logUid: id16,
  logStart: u64,
  committedEnd: u64,
  fence: u64,
  /** Bytes of batches held. */
  bytes: u64,
  /** Unix ms; in a list of the trash: when it was deleted. */
  created: u64,
  term: u64,
  /** "" = none. */
  leader: str,
  replicas: list(logReplica),
  durability: oneOf(Durability.FSYNC, Durability.INTERVAL, Durability.MEMORY),
  replication: u8,
  intervalMs: u32,
  retainBytes: u64,
  retainMs: u64,
  segmentBytes: u64,
  compressions: u8,
};

/** LOG of §4. */
export type LogInfo = Values<typeof logInfo>;
export const logInfo = struct(logFields);

export type CreateLogResponse = Values<typeof createLogResponse>;
/** The uid stands in the field and, as on every answer that names a log, in TLV 2 (here `uid`). */
export const createLogResponse = answer({ logUid: id16 }, { uid: logUidAnswerTlv });

export type DescribeLogResponse = Values<typeof describeLogResponse>;
/** LOG and ext; TLV 2 is under `uid`, since LOG itself has a `logUid`. */
export const describeLogResponse = answer(logFields, { uid: logUidAnswerTlv });

export type ListLogsResponse = Values<typeof listLogsResponse>;
export const listLogsResponse = answer({ logs: list(logInfo) });

export type TrimResponse = Values<typeof trimResponse>;
export const trimResponse = answer({ logStart: u64 });

export type TransferLeaderResponse = Values<typeof transferLeaderResponse>;
export const transferLeaderResponse = answer({ leader: str, term: u64 });

/** Answer without fields: ALTER_LOG, DELETE_LOG, REMOVE_NODE. */
export type EmptyResponse = Values<typeof emptyResponse>;
export const emptyResponse = answer({});
