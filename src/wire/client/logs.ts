// `client.logs`: creating, listing, describing, altering, trimming, deleting and restoring logs.
import type { Reader } from '../bytes.ts';
import { NONE } from '../limits.ts';
import { Op, Role } from '../ops.ts';
import {
  alterLogRequest,
  createLogRequest,
  deleteLogRequest,
  describeLogRequest,
  listLogsRequest,
  transferLeaderRequest,
  trimRequest,
} from '../requests-admin.ts';
import type { CreateLogRequest } from '../requests-admin.ts';
import {
  createLogResponse,
  describeLogResponse,
  emptyResponse,
  listLogsResponse,
  transferLeaderResponse,
  trimResponse,
} from '../responses-admin.ts';
import type { LogInfo } from '../responses-admin.ts';
import { compressionMask, compressionNames } from './compression.ts';
import { exchange, exchangeList, uidFor } from './context.ts';
import type { ClientContext } from './context.ts';
import { parseUid } from './pins.ts';
import { checkNumber } from './read-start.ts';
import { durabilityCode, durabilityName } from './receipts.ts';
import type { LogAlteration, LogDescription, LogSettings } from './types.ts';

export class LogAdmin {
  private readonly context: ClientContext;

  constructor(context: ClientContext) {
    this.context = context;
  }

  /**
   * Makes a log; resolves when it takes records. Rejects with LOG_EXISTS, INVALID_ARGUMENT. After a lost
   * connection the outcome is unknown: describe the log to find out.
   */
  create(log: string, settings: LogSettings = {}): Promise<{ logUid: string }> {
    const { durability = 'fsync', replication = 0, intervalMs = 0, compressions = [] } = settings;
    const { retainBytes = 0, retainMs = 0, segmentBytes = 0 } = settings;
    return this.make({
      log,
      durability: durabilityCode(durability),
      replication,
      intervalMs: checkNumber('intervalMs', intervalMs, 0xffff_ffff),
      retainBytes: checkNumber('retainBytes', retainBytes),
      retainMs: checkNumber('retainMs', retainMs),
      segmentBytes: checkNumber('segmentBytes', segmentBytes),
      compressions: compressionMask(compressions),
    });
  }

  /** Makes `log` out of a deleted log (its uid as `list({ trash: true })` shows it), under a new uid. */
  restore(log: string, deletedUid: string): Promise<{ logUid: string }> {
    const restoreUid = parseUid(deletedUid);
    const unused = { retainBytes: 0, retainMs: 0, segmentBytes: 0, intervalMs: 0, compressions: 0 };
    return this.make({ log, durability: 1, replication: 0, ...unused, restoreUid });
  }

  /** Logs whose name begins with `prefix`, by name; `trash`: the deleted ones that can be restored. */
  async list(options: { prefix?: string | undefined; trash?: boolean | undefined } = {}): Promise<LogDescription[]> {
    const how = { op: Op.LIST_LOGS, request: listLogsRequest, answer: LISTED, retry: 'always' as const };
    const request = { prefix: options.prefix ?? '', trash: options.trash === true ? (true as const) : undefined };
    const frames = await exchangeList(this.context, how, request);
    return frames.flat();
  }

  async describe(log: string): Promise<LogDescription> {
    const how = { op: Op.DESCRIBE_LOG, request: describeLogRequest, answer: DESCRIBED, retry: 'always' as const };
    const description = await exchange(this.context, how, { log });
    this.context.pins.learn(log, Buffer.from(description.logUid, 'hex'));
    return description;
  }

  /** Changes what is given and leaves the rest as it is. */
  async alter(log: string, changes: LogAlteration): Promise<void> {
    const { retainBytes = NONE, retainMs = NONE, replication = 0, compressions = [] } = changes;
    const how = { op: Op.ALTER_LOG, request: alterLogRequest, answer: emptyResponse, retry: 'always' as const };
    await exchange(this.context, how, {
      log,
      retainBytes: retainBytes === NONE ? NONE : checkNumber('retainBytes', retainBytes),
      retainMs: retainMs === NONE ? NONE : checkNumber('retainMs', retainMs),
      replication,
      compressions: compressionMask(compressions),
    });
  }

  /** Deletes a log; with `logUid` only that one, whatever has its name now. */
  async delete(log: string, options: { logUid?: string | undefined } = {}): Promise<void> {
    const logUid = options.logUid === undefined ? undefined : parseUid(options.logUid);
    const how = { op: Op.DELETE_LOG, request: deleteLogRequest, answer: emptyResponse, retry: 'certain' as const };
    await exchange(this.context, how, { log, logUid });
    this.context.pins.forget(log);
  }

  /** Gives up records before `offset`, rounded down to a batch border; resolves with the new log start. */
  async trim(log: string, offset: number, options: { logUid?: string | undefined } = {}): Promise<number> {
    const how = { op: Op.TRIM, request: trimRequest, answer: trimResponse, retry: 'always' as const };
    const request = { log, offset: checkNumber('offset', offset), logUid: uidFor(this.context, log, options.logUid) };
    return (await exchange(this.context, how, request)).logStart;
  }

  /** Hands the lead of a log to `node`, or to any other. */
  transferLeader(log: string, node = ''): Promise<{ leader: string; term: number }> {
    const [request, answer] = [transferLeaderRequest, transferLeaderResponse];
    const how = { op: Op.TRANSFER_LEADER, request, answer, retry: 'certain' as const };
    return exchange(this.context, how, { log, node });
  }

  private async make(request: CreateLogRequest): Promise<{ logUid: string }> {
    const how = { op: Op.CREATE_LOG, request: createLogRequest, answer: CREATED, retry: 'certain' as const };
    const uid = await exchange(this.context, how, request);
    this.context.pins.set(request.log, uid);
    return { logUid: uid.toString('hex') };
  }
}

// What the answers say, without views of the received frame.
const CREATED = { read: (r: Reader): Buffer => Buffer.from(createLogResponse.read(r).logUid) };
const DESCRIBED = { read: (r: Reader): LogDescription => descriptionOf(describeLogResponse.read(r)) };
const LISTED = { read: (r: Reader): LogDescription[] => listLogsResponse.read(r).logs.map(descriptionOf) };

function descriptionOf(info: LogInfo): LogDescription {
  const { logUid, replicas, durability, compressions, ...rest } = info;
  return {
    log: rest.log,
    logUid: logUid.toString('hex'),
    logStart: rest.logStart,
    committedEnd: rest.committedEnd,
    fence: rest.fence,
    bytes: rest.bytes,
    created: rest.created,
    term: rest.term,
    leader: rest.leader,
    replicas: replicas.map(({ node, role }) => ({ node, role: role === Role.VOTER ? 'voter' : 'learner' })),
    durability: durabilityName(durability),
    replication: rest.replication,
    intervalMs: rest.intervalMs,
    retainBytes: rest.retainBytes,
    retainMs: rest.retainMs,
    segmentBytes: rest.segmentBytes,
    compressions: compressionNames(compressions),
  };
}
