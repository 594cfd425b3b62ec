// Random histories of three whole nodes: losses, cuts, crashes, restarts, records all the while. What was
// acked must be there once, all logs must end up equal, and what was refused for good must not be there.
// `SEED=n` replays one.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Prng } from '../support/prng.ts';
import { records } from '../replica/support.ts';
import type { TestClient } from '../replica/support.ts';
import { Cluster, LOG } from './cluster.ts';
import type { Member } from './cluster.ts';

const test = suite('raft-driver/soak');

const SEEDS = process.env['SEED'] === undefined
  ? Array.from({ length: Number(process.env['SEEDS'] ?? 12) }, (_, i) => i + 1)
  : [Number(process.env['SEED'])];
const STEPS = Number(process.env['STEPS'] ?? 150);
let ackedInAll = 0;

interface Sent {
  readonly value: string;
  readonly client: TestClient;
  readonly id: number;
}

class Soak {
  readonly prng: Prng;
  readonly cluster: Cluster;
  readonly sent: Sent[] = [];
  #loss = 0;
  #clients = new Map<object, TestClient>();

  constructor(seed: number, cluster: Cluster) {
    this.prng = new Prng(seed);
    this.cluster = cluster;
    cluster.disorder = this.prng.fork();
    cluster.onMessage = () => this.prng.next(100) >= this.#loss;
  }

  async step(): Promise<void> {
    const { cluster, prng } = this;
    const dice = prng.next(100);
    const member = cluster.members[prng.next(cluster.members.length)]!;
    if (dice < 45) await this.#produce();
    else if (dice < 80) await cluster.advance(50 * (1 + prng.next(8)));
    else if (dice < 85) this.#loss = prng.next(3) * 15;
    else if (dice < 88) cluster.isolate(member.number);
    else if (dice < 90) cluster.cut.add(`${member.number}>${1 + prng.next(cluster.members.length)}`);
    else if (dice < 94) cluster.heal();
    else await this.#crashOrStart(member);
  }

  async #crashOrStart(member: Member): Promise<void> {
    if (member.world === null) await member.start(true);
    else member.crash({ mode: this.prng.next(2) === 0 ? 'power' : 'process' });
  }

  async #produce(): Promise<void> {
    const { cluster, prng } = this;
    const leaders = cluster.running.filter(({ leads }) => leads);
    if (leaders.length === 0) return;
    const { world } = leaders[prng.next(leaders.length)]!;
    let client = this.#clients.get(world!);
    if (client === undefined) {
      client = await world!.connect();
      this.#clients.set(world!, client);
    }
    for (let i = 1 + prng.next(4); i > 0; i--) {
      const value = `r${this.sent.length}`;
      this.sent.push({ value, client, id: client.sendProduce(LOG, records(value), { timeoutMs: 60_000 }) });
    }
    if (prng.next(2) === 0) await cluster.settle();
  }

  async end(): Promise<void> {
    const { cluster } = this;
    this.#loss = 0;
    cluster.disorder = null;
    cluster.heal();
    for (const member of cluster.members) if (member.world === null) await member.start(true);
    await cluster.elect();
    await cluster.converge();
  }

  async judge(): Promise<void> {
    const { cluster } = this;
    const entries = await cluster.leader!.entries();
    const values = await cluster.leader!.values();
    for (const member of cluster.members) {
      assert.equal(await member.entries(), entries, `the log of node ${member.number}`);
      assert.equal(await member.values(), values, `the records of node ${member.number}`);
    }
    const counts = new Map<string, number>();
    for (const value of values) {
      const name = value.slice(value.indexOf(':') + 1);
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    for (const { value, client, id } of this.sent) {
      const answer = client.produced(id);
      const count = counts.get(value) ?? 0;
      assert.ok(count <= 1, `${value} is there ${count} times`);
      if (answer?.code === 'OK') {
        ackedInAll++;
        assert.is(values[answer.value.baseOffset], `${answer.value.baseOffset}:${value}`, 'I7: acked, at its offset');
      } else if (answer !== null && answer.code !== 'LEADERSHIP_LOST' && answer.code !== 'TIMEOUT') {
        assert.is(count, 0, `I12: ${value} was refused with ${answer.code}`);
      }
    }
  }
}

for (const seed of SEEDS) {
  test(`what was acked is there once, and all logs are equal, after ${STEPS} random events (SEED=${seed})`, async () => {
    const cluster = await Cluster.start({ segmentBytes: 1024 * 1024, cacheBytes: seed % 2 === 0 ? 4096 : 1024 * 1024 });
    const soak = new Soak(seed, cluster);
    for (let i = 0; i < STEPS; i++) await soak.step();
    await soak.end();
    await soak.judge();
    await cluster.stop();
  });
}

test('together they acked a good number of records', () => {
  if (SEEDS.length < 10) return;
  assert.ok(ackedInAll > 20 * SEEDS.length, `${ackedInAll}`);
});

test.run();
