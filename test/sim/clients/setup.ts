// The first client of a world: makes its logs and learns their log_uids, before anybody else comes and
// before anything goes wrong.
import { ErrorCode } from '../../../src/wire/errors.ts';
import type { Durability } from '../../../src/wire/ops.ts';
import { Op } from '../../../src/wire/ops.ts';
import { createLogRequest, describeLogRequest } from '../../../src/wire/requests-admin.ts';
import type { CreateLogRequest } from '../../../src/wire/requests-admin.ts';
import { createLogResponse, describeLogResponse } from '../../../src/wire/responses-admin.ts';
import type { Prng } from '../../support/prng.ts';
import { demand } from '../core/failure.ts';
import type { LogPlan } from '../options.ts';
import { SimClient } from './client.ts';
import type { ClientWorld } from './client.ts';

const THINK_US = 2_000;

export class Setup extends SimClient {
  readonly uids = new Map<string, Buffer>();
  readonly #plans: readonly LogPlan[];
  readonly #replication: 0 | 1 | 3 | 5;

  constructor(world: ClientWorld, prng: Prng, plans: readonly LogPlan[], replication: 0 | 1 | 3 | 5) {
    super(world, 'setup', prng, THINK_US);
    this.#plans = plans;
    this.#replication = replication;
  }

  get done(): boolean {
    return this.uids.size === this.#plans.length;
  }

  protected step(): void {
    if (this.underWay > 0) return;
    const plan = this.#plans.find(({ name }) => !this.uids.has(name));
    if (plan === undefined) return;
    if (plan.name === 'default') this.#describe(plan);
    else this.#create(plan);
  }

  #create(plan: LogPlan): void {
    const { name, durability, intervalMs, retainBytes, retainMs } = plan;
    const request: CreateLogRequest = { log: name, durability: durability as Durability, replication: this.#replication, intervalMs, retainBytes, retainMs, segmentBytes: 1 << 20, compressions: 0 };
    this.begin('create');
    this.link.call(Op.CREATE_LOG, createLogRequest, request, createLogResponse, (outcome) => {
      this.ended('create', outcome);
      if (outcome.ok) this.uids.set(name, Buffer.from(outcome.value.logUid));
      else if (outcome.code === ErrorCode.LOG_EXISTS) this.uids.set(name, outcome.error.detail.logUid!);
      else demand(outcome.retriable || !outcome.noEffect, 'logs', () => `${name} cannot be made: ${outcome.error.message}`);
    });
  }

  #describe({ name }: LogPlan): void {
    this.begin('describe');
    this.link.call(Op.DESCRIBE_LOG, describeLogRequest, { log: name }, describeLogResponse, (outcome) => {
      this.ended('describe', outcome);
      if (outcome.ok) this.uids.set(name, Buffer.from(outcome.value.logUid));
    });
  }
}
