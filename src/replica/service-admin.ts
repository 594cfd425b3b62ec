// CREATE_LOG, ALTER_LOG, DELETE_LOG, DESCRIBE_LOG, LIST_LOGS, and what concerns nodes. On one node the
// catalog is this node's own directory of logs.
import type { Reader } from '../wire/bytes.ts';
import { ErrorCode, ProtocolError } from '../wire/errors.ts';
import { NodeState, Op, Role } from '../wire/ops.ts';
import { pagesOf } from '../wire/pages.ts';
import {
  alterLogRequest, createLogRequest, deleteLogRequest, describeClusterRequest, describeLogRequest,
  listLogsRequest, removeNodeRequest, transferLeaderRequest,
} from '../wire/requests-admin.ts';
import {
  createLogResponse, describeClusterResponse, describeLogResponse, listLogsResponse, logInfo, transferLeaderResponse,
} from '../wire/responses-admin.ts';
import type { LogInfo } from '../wire/responses-admin.ts';
import { DiskError, isDiskFull } from '../index/disk.ts';
import type { Client } from './client.ts';
import { alteredSettings, isFault, settingsFromWish } from './log-settings.ts';
import type { LogDescriptor, LogFigures } from './log-settings.ts';
import { figuresOf } from './log-slot.ts';
import type { LogSlot } from './log-slot.ts';
import type { NodeService } from './service.ts';
import { ServiceTask } from './service-task.ts';
import { RoomFor } from './space.ts';

/** What this node says about its cluster. */
export interface ClusterView {
  /** 16 bytes each. */
  readonly clusterId: Buffer;
  readonly nodeId: Buffer;
  readonly nodeName: string;
  /** Where clients reach this node. */
  readonly address: string;
  readonly zone: string;
  readonly version: string;
  /** Segment size of logs that do not set their own. */
  readonly segmentBytes: number;
}

/** The catalog of one node never changes its leader. */
const CATALOG_TERM = 1;

/** What a new log's folder and first segment take, about. */
const NEW_LOG_SIZE = 256 * 1024;

/** False when `op` is none of these. Throws ProtocolError for a wrong payload. */
export function executeAdmin(service: NodeService, client: Client, op: Op, id: number, payload: Reader): boolean {
  switch (op) {
    case Op.DESCRIBE_CLUSTER:
      describeClusterRequest.read(payload);
      if (service.allow(client, op, id, '', 'describe')) describeCluster(service, client, id);
      return true;
    case Op.CREATE_LOG:
      createLog(service, client, id, payload);
      return true;
    case Op.ALTER_LOG:
      alterLog(service, client, id, payload);
      return true;
    case Op.DELETE_LOG:
      deleteLog(service, client, id, payload);
      return true;
    case Op.DESCRIBE_LOG:
      describeLog(service, client, id, payload);
      return true;
    case Op.LIST_LOGS:
      listLogs(service, client, id, payload);
      return true;
    case Op.TRANSFER_LEADER:
      transferLeader(service, client, id, payload);
      return true;
    case Op.REMOVE_NODE:
      removeNode(service, client, id, payload);
      return true;
    default:
      return false;
  }
}

/** Runs work on the catalog for a request; its failure is the request's answer. */
function work(service: NodeService, client: Client, op: Op, id: number, begin: (task: ServiceTask) => Promise<void>): void {
  const task = new ServiceTask(client, op, id, service.deadline(), null);
  client.deadlines.add(task);
  begin(task).catch((error: unknown) => {
    if (error instanceof ProtocolError) {
      const { code, message, retryAfterMs, detail } = error;
      return task.error(code, { ...detail, message, retryAfterMs });
    }
    if (!(error instanceof DiskError)) throw error;
    const full = isDiskFull(error);
    const message = full ? 'the disk is full' : `the disk failed: ${error.message}`;
    task.error(full ? ErrorCode.STORAGE_FULL : ErrorCode.INTERNAL, { message });
  });
}

function createLog(service: NodeService, client: Client, id: number, payload: Reader): void {
  const request = createLogRequest.read(payload);
  const { logs, context, cluster } = service.parts;
  const restoreUid = request.restoreUid?.toString('hex');
  if (!service.allow(client, Op.CREATE_LOG, id, request.log, 'manage')) return;
  const settings = settingsFromWish(request, cluster.segmentBytes);
  // Also when the settings of a deleted log will hold in their place (SL-LOG-50).
  if (isFault(settings)) return client.fail(id, Op.CREATE_LOG, ErrorCode.INVALID_ARGUMENT, settings);
  work(service, client, Op.CREATE_LOG, id, async (task) => {
    if (!context.space.admits(RoomFor.SMALL_STATE, NEW_LOG_SIZE)) {
      throw new ProtocolError(ErrorCode.STORAGE_FULL, { message: 'the disk is nearly full', retryAfterMs: 1000 });
    }
    const slot = restoreUid !== undefined ? await logs.restore(request.log, restoreUid) : await logs.create(request.log, settings);
    const logUid = Buffer.from(slot.uid, 'hex');
    task.succeed(() => client.session.reply(id, Op.CREATE_LOG, (w) => createLogResponse.write(w, { logUid, uid: logUid })));
  });
}

function alterLog(service: NodeService, client: Client, id: number, payload: Reader): void {
  const request = alterLogRequest.read(payload);
  const slot = service.findLog(client, Op.ALTER_LOG, id, request.log, request.logUid, 'manage');
  if (slot === null) return;
  const settings = alteredSettings(slot.descriptor.settings, request);
  if (isFault(settings)) return client.fail(id, Op.ALTER_LOG, ErrorCode.INVALID_ARGUMENT, settings);
  work(service, client, Op.ALTER_LOG, id, async (task) => {
    await service.parts.logs.alter(slot, (now) => {
      const altered = alteredSettings(now, request);
      return isFault(altered) ? now : altered;
    });
    task.succeed(() => client.session.reply(id, Op.ALTER_LOG, null));
  });
}

function deleteLog(service: NodeService, client: Client, id: number, payload: Reader): void {
  const request = deleteLogRequest.read(payload);
  const slot = service.findLog(client, Op.DELETE_LOG, id, request.log, request.logUid, 'manage');
  if (slot === null) return;
  work(service, client, Op.DELETE_LOG, id, async (task) => {
    await service.parts.logs.delete(slot);
    task.succeed(() => client.session.reply(id, Op.DELETE_LOG, null));
  });
}

function describeLog(service: NodeService, client: Client, id: number, payload: Reader): void {
  const request = describeLogRequest.read(payload);
  const known = request.logUid !== undefined;
  const slot = service.findLog(client, Op.DESCRIBE_LOG, id, request.log, request.logUid, 'describe');
  if (slot === null) return;
  work(service, client, Op.DESCRIBE_LOG, id, async (task) => {
    await service.parts.logs.makeKnown([slot]);
    if (slot.deleted) throw new ProtocolError(ErrorCode.LOG_NOT_FOUND);
    const info = infoOf(service, slot);
    const uid = known ? undefined : info.logUid;
    task.succeed(() => client.session.reply(id, Op.DESCRIBE_LOG, (w) => describeLogResponse.write(w, { ...info, uid })));
  });
}

function listLogs(service: NodeService, client: Client, id: number, payload: Reader): void {
  const { prefix, trash } = listLogsRequest.read(payload);
  const { logs, policy } = service.parts;
  const { identity, peerMaxFrame } = client.session;
  work(service, client, Op.LIST_LOGS, id, async (task) => {
    const infos: LogInfo[] = [];
    if (trash === true) {
      for (const entry of logs.trash.list(prefix)) {
        if (policy.allows(identity, 'manage', entry.name)) infos.push(trashInfo(entry));
      }
    } else {
      const slots = logs.list(prefix).filter(({ name }) => policy.allows(identity, 'describe', name));
      await logs.makeKnown(slots);
      for (const slot of slots) if (!slot.deleted) infos.push(infoOf(service, slot));
    }
    const pages = pagesOf(infos, logInfo, peerMaxFrame);
    task.succeed(() => {
      pages.forEach((page, i) => {
        const more = i < pages.length - 1;
        client.session.reply(id, Op.LIST_LOGS, (w) => listLogsResponse.write(w, { logs: page }), more);
      });
    });
  });
}

const NO_FIGURES: LogFigures = { logStart: 0, committedEnd: 0, fence: 0, bytes: 0, term: 1 };

function infoOf(service: NodeService, slot: LogSlot): LogInfo {
  const { nodeName } = service.parts.cluster;
  const figures = slot.replica !== null ? figuresOf(slot.replica) : (slot.figures ?? NO_FIGURES);
  return { ...info(slot.descriptor, figures), leader: nodeName, replicas: [{ node: nodeName, role: Role.VOTER }] };
}

/** In the trash `created` is the time of the deletion. */
function trashInfo(entry: LogDescriptor): LogInfo {
  return { ...info(entry, entry.figures ?? NO_FIGURES), created: entry.deletedMs!, leader: '', replicas: [] };
}

function info({ name, uid, createdMs, settings }: LogDescriptor, figures: LogFigures): Omit<LogInfo, 'leader' | 'replicas'> {
  const { logStart, committedEnd, fence, bytes, term } = figures;
  return {
    log: name, logUid: Buffer.from(uid, 'hex'), logStart, committedEnd, fence, bytes, created: createdMs,
    term: Math.max(1, term), ...settings,
  };
}

function describeCluster(service: NodeService, client: Client, id: number): void {
  const { clusterId, nodeId, nodeName, address, zone, version } = service.parts.cluster;
  const self = { node: nodeName, nodeId, address, state: NodeState.ALIVE, role: Role.VOTER, zone, version };
  const answer = { clusterId, term: CATALOG_TERM, catalogLeader: nodeName, nodes: [self] };
  client.session.reply(id, Op.DESCRIBE_CLUSTER, (w) => describeClusterResponse.write(w, answer));
}

/** A node that is alone leads everything already. */
function transferLeader(service: NodeService, client: Client, id: number, payload: Reader): void {
  const { log: name, node, logUid } = transferLeaderRequest.read(payload);
  const { nodeName } = service.parts.cluster;
  service.withLog(client, Op.TRANSFER_LEADER, id, name, logUid, 'admin', (log) => {
    if (node !== '' && node !== nodeName) {
      return client.fail(id, Op.TRANSFER_LEADER, ErrorCode.INVALID_ARGUMENT, { field: 'node', message: 'no such voter' });
    }
    const answer = { leader: nodeName, term: log.group.term };
    client.session.reply(id, Op.TRANSFER_LEADER, (w) => transferLeaderResponse.write(w, answer));
  });
}

function removeNode(service: NodeService, client: Client, id: number, payload: Reader): void {
  const { node } = removeNodeRequest.read(payload);
  if (!service.allow(client, Op.REMOVE_NODE, id, '', 'admin')) return;
  const alone = node === service.parts.cluster.nodeName;
  const message = alone ? 'it is the only node of its cluster' : 'no node has this name';
  client.fail(id, Op.REMOVE_NODE, ErrorCode.INVALID_ARGUMENT, { field: 'node', message });
}
