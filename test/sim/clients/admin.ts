// The operator's hands: trims logs, describes and lists them, and makes, deletes and restores logs of
// its own, whose comings and goings nobody else relies on.
import { ErrorCode } from '../../../src/wire/errors.ts';
import { NONE } from '../../../src/wire/limits.ts';
import { Durability, Op } from '../../../src/wire/ops.ts';
import {
  alterLogRequest, createLogRequest, deleteLogRequest, describeLogRequest, listLogsRequest, trimRequest,
} from '../../../src/wire/requests-admin.ts';
import {
  createLogResponse, describeLogResponse, emptyResponse, listLogsResponse, trimResponse,
} from '../../../src/wire/responses-admin.ts';
import type { LogInfo } from '../../../src/wire/responses-admin.ts';
import type { Prng } from '../../support/prng.ts';
import { demand } from '../core/failure.ts';
import { SimClient } from './client.ts';
import type { ClientWorld, LogRef } from './client.ts';

export interface AdminOptions {
  readonly thinkUs: number;
  readonly trims: boolean;
  readonly scratchLogs: number;
}

/** One of the admin's own logs: what is known to be true of it, `unsure` after an answer that left it open. */
interface Scratch {
  readonly name: string;
  state: 'absent' | 'present' | 'unsure';
  uid: Buffer | null;
  busy: boolean;
  /** Deletions whose outcome is not known may still come: then it may be gone at any time. */
  mayGo: boolean;
  /** Likewise creations: one whose connection broke may still be under way at a slow disk. */
  mayCome: boolean;
}

export class Admin extends SimClient {
  readonly #options: AdminOptions;
  readonly #scratch: Scratch[] = [];

  constructor(world: ClientWorld, name: string, prng: Prng, options: AdminOptions) {
    super(world, name, prng, options.thinkUs);
    this.#options = options;
    for (let i = 0; i < options.scratchLogs; i++) this.#scratch.push({ name: `scratch-${i}`, state: 'absent', uid: null, busy: false, mayGo: false, mayCome: false });
  }

  protected step(): void {
    if (this.draining || this.underWay >= 2) return;
    const what = this.prng.next(this.world.nodes.length === 1 ? 10 : 6);
    if (what < 4 && this.#options.trims) this.#trim(this.prng.pick(this.world.logs));
    else if (what < 6) this.#describe(this.prng.pick(this.world.logs));
    else if (what < 7) this.#list();
    else if (what < 8) this.#alter(this.prng.pick(this.world.logs));
    else if (this.#scratch.length > 0) this.#changeScratch(this.prng.pick(this.#scratch));
  }

  #trim(ref: LogRef): void {
    const log = ref.history;
    const beyond = this.prng.chance(0.05);
    const offset = beyond ? log.end + 1000 : this.prng.chance(0.5) ? this.prng.next(log.end + 1) : Math.max(0, log.end - this.prng.next(200));
    const { end, start } = log;
    log.trimAsked = Math.max(log.trimAsked, offset);
    this.begin('trim');
    this.link.call(Op.TRIM, trimRequest, { log: ref.name, offset, logUid: ref.uid }, trimResponse, (outcome) => {
      this.ended('trim', outcome);
      if (!outcome.ok) return this.backOff();
      if (this.link.stale && log.soft) return;
      const { logStart } = outcome.value;
      this.world.counters.trims++;
      // Another trim may have gone further; the answer is where the log begins now.
      demand(logStart <= Math.max(offset, start, log.trimAsked) || log.retained, 'trims', () => `TRIM ${log.name} to ${offset} moved its start to ${logStart}`);
      demand(logStart >= start || log.soft, 'trims', () => `TRIM ${log.name} to ${offset} says it starts at ${logStart}, and it had started at ${start}`);
      void end;
      log.noteStart(logStart);
    });
  }

  #describe(ref: LogRef): void {
    const log = ref.history;
    const floor = log.end;
    const startFloor = log.start;
    this.begin('describe');
    this.link.call(Op.DESCRIBE_LOG, describeLogRequest, { log: ref.name, logUid: ref.uid }, describeLogResponse, (outcome) => {
      this.ended('describe', outcome);
      if (outcome.ok) this.#described(ref, outcome.value, floor, startFloor);
    });
  }

  #described(ref: LogRef, info: LogInfo, floor: number, startFloor: number): void {
    const log = ref.history;
    const { logStart, committedEnd } = info;
    demand(info.logUid.equals(ref.uid), 'logs', () => `${ref.name} is described with another log_uid`);
    this.world.history.range({ log, logStart, committedEnd, floor, startFloor, linear: false, stale: this.link.stale });
  }

  #list(): void {
    const before = this.world.logs.map((ref) => ({ ref, floor: ref.history.end, startFloor: ref.history.start, mayBeGone: ref.history.mayBeGone }));
    this.begin('list logs');
    const infos: LogInfo[] = [];
    this.link.call(Op.LIST_LOGS, listLogsRequest, { prefix: '' }, listLogsResponse, (outcome) => {
      if (outcome.ok) infos.push(...outcome.value.logs.map((info) => ({ ...info, logUid: Buffer.from(info.logUid) })));
      if (outcome.ok && outcome.more) return;
      this.ended('list logs', outcome);
      // What cannot be read has no name that could be listed.
      const { node } = this.link.node!;
      if (!outcome.ok || this.link.stale || node === null || node.logs.namelessCount > 0) return;
      for (const { ref, floor, startFloor, mayBeGone } of before) {
        const info = infos.find(({ log }) => log === ref.name);
        demand(info !== undefined || mayBeGone || ref.history.mayBeGone, 'logs', () => `${ref.name} is not in the list of logs`);
        if (info !== undefined && !ref.history.mayBeGone) this.#described(ref, info, floor, startFloor);
      }
    });
  }

  #alter(ref: LogRef): void {
    const request = { log: ref.name, retainBytes: NONE, retainMs: NONE, replication: 0 as const, compressions: this.prng.pick([0, 1, 3]), logUid: ref.uid };
    this.begin('alter');
    this.link.call(Op.ALTER_LOG, alterLogRequest, request, emptyResponse, (outcome) => this.ended('alter', outcome));
  }

  #changeScratch(log: Scratch): void {
    if (log.busy) return;
    if (log.state === 'absent' || (log.state === 'unsure' && this.prng.chance(0.5))) this.#create(log);
    else this.#delete(log);
  }

  #create(log: Scratch): void {
    const sure = log.state === 'absent';
    log.busy = true;
    this.begin('create');
    const request = {
      log: log.name, durability: this.prng.pick([Durability.FSYNC, Durability.MEMORY]), replication: 0 as const, intervalMs: 0, retainBytes: 0,
      retainMs: 0, segmentBytes: 0, compressions: 0,
    };
    this.link.call(Op.CREATE_LOG, createLogRequest, request, createLogResponse, (outcome) => {
      this.ended('create', outcome);
      log.busy = false;
      if (outcome.ok) {
        log.state = 'present';
        log.mayGo = log.mayCome = false;
        log.uid = Buffer.from(outcome.value.logUid);
        return;
      }
      demand(outcome.code !== ErrorCode.LOG_EXISTS || !sure, 'logs', () => `${log.name} was deleted, and cannot be made because it exists`);
      if (outcome.code === ErrorCode.LOG_EXISTS) {
        log.state = log.mayGo ? 'unsure' : 'present';
        // Of one name one creation is under way at a time.
        log.mayCome = false;
        log.uid = outcome.error.detail.logUid ?? null;
      } else if (!outcome.noEffect) {
        log.state = 'unsure';
        log.mayCome = true;
      }
    });
  }

  #delete(log: Scratch): void {
    const sure = log.state === 'present';
    const wrongUid = log.uid !== null && this.prng.chance(0.2);
    const uid = log.uid === null ? undefined : wrongUid ? Buffer.from(log.uid).fill(0x5a, 0, 4) : log.uid;
    log.busy = true;
    this.begin('delete');
    this.link.call(Op.DELETE_LOG, deleteLogRequest, { log: log.name, logUid: uid }, emptyResponse, (outcome) => {
      this.ended('delete', outcome);
      log.busy = false;
      if (outcome.ok) {
        demand(!wrongUid, 'logs', () => `${log.name} was deleted for a request that named another log_uid`);
        log.state = log.mayCome ? 'unsure' : 'absent';
        log.uid = null;
        return;
      }
      demand(outcome.code !== ErrorCode.LOG_NOT_FOUND || !sure, 'logs', () => `${log.name} was made, and is not found`);
      if (outcome.code === ErrorCode.LOG_NOT_FOUND) log.state = log.mayCome ? 'unsure' : 'absent';
      else if (outcome.code === ErrorCode.LOG_CHANGED) {
        demand(wrongUid || !sure, 'logs', () => `${log.name} has another log_uid than it was made with`);
        if (!wrongUid) log.uid = outcome.error.detail.logUid ?? null;
      } else if (!outcome.noEffect) {
        log.state = 'unsure';
        log.mayGo = true;
      }
    });
  }
}
