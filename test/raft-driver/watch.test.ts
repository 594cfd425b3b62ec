// The watch over idle groups from both sides: two of them, and a wire that a test holds in its hands.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { RAFT_DEFAULTS } from '../../src/raft/settings.ts';
import { PeerWatch } from '../../src/replica/peers/watch.ts';
import { decodeWatch, WatchKind } from '../../src/replica/peers/watch-messages.ts';

const test = suite('raft-driver/watch');

const LEADER = '01'.repeat(16);
const FOLLOWER = '02'.repeat(16);
const HEARTBEATS = RAFT_DEFAULTS.electionMinMs / RAFT_DEFAULTS.heartbeatMs;

class Rig {
  readonly leader = this.#watch(LEADER);
  readonly follower = this.#watch(FOLLOWER);
  /** Who was told that nobody vouches for it: `l` or `f`, and the group. */
  readonly silent: string[] = [];
  queue: Array<{ to: string; message: Buffer }> = [];
  /** False = the message is lost. */
  passes: (message: Buffer) => boolean = () => true;
  ms = 1000;

  #watch(nodeId: string): PeerWatch {
    const transport = { send: (to: string, message: Buffer) => void this.queue.push({ to, message }) };
    return new PeerWatch({ clusterId: '0c'.repeat(16), nodeId, settings: RAFT_DEFAULTS, transport });
  }

  constructor() {
    this.run(50);
  }

  #group(side: string, n: number) {
    return { peerSilent: (_nodeId: string, elapsedMs: number) => void this.silent.push(`${side}${n}${elapsedMs === 0 ? ' at once' : ''}`), peerReset: () => {} };
  }

  atLeader(n: number, term = 1): void {
    this.leader.idleAt(FOLLOWER, { logUid: uid(n), leader: 1, follower: 2, term, group: this.#group('l', n) });
  }

  atFollower(n: number, term = 1): void {
    this.follower.asleepUnder(LEADER, { logUid: uid(n), leader: 1, follower: 2, term, group: this.#group('f', n) });
  }

  both(n: number): void {
    this.atLeader(n);
    this.atFollower(n);
  }

  run(ms: number): void {
    for (let passed = 0; passed < ms; passed += 50) {
      this.ms += 50;
      this.leader.tick(this.ms);
      this.follower.tick(this.ms);
      this.settle();
    }
  }

  settle(): void {
    while (this.queue.length > 0) {
      const { to, message } = this.queue.shift()!;
      if (!this.passes(message)) continue;
      (to === LEADER ? this.leader : this.follower).receive(message);
    }
  }
}

function uid(n: number): string {
  return n.toString(16).padStart(32, '0');
}

test('while both count the same groups nobody is told anything', () => {
  const rig = new Rig();
  for (let n = 1; n <= 20; n++) rig.both(n);
  rig.run(20_000);
  assert.equal(rig.silent, []);
});

test('a group that the follower does not count as asleep is named, and wakes at the leader; the others sleep on', () => {
  const rig = new Rig();
  for (let n = 1; n <= 20; n++) rig.both(n);
  rig.run(1000);
  rig.follower.awake(uid(7));
  rig.run(3 * RAFT_DEFAULTS.heartbeatMs);
  assert.equal([...new Set(rig.silent)], ['l7 at once']);
  rig.leader.busyAt(FOLLOWER, uid(7));
  rig.silent.length = 0;
  rig.run(10_000);
  assert.equal(rig.silent, []);
});

test('a group that the leader does not count any more is on its own at the follower after an election timeout', () => {
  const rig = new Rig();
  for (let n = 1; n <= 20; n++) rig.both(n);
  rig.run(1000);
  rig.leader.busyAt(FOLLOWER, uid(7));
  rig.run(RAFT_DEFAULTS.electionMinMs - 100);
  assert.equal(rig.silent, []);
  rig.run(300);
  assert.equal([...new Set(rig.silent)], ['f7']);
  rig.follower.awake(uid(7));
  rig.silent.length = 0;
  rig.run(10_000);
  assert.equal(rig.silent, []);
});

test('the same group in another term is not the same', () => {
  const rig = new Rig();
  rig.both(1);
  rig.atLeader(2, 5);
  rig.atFollower(2, 4);
  rig.run(1000);
  assert.ok(rig.silent.includes('l2 at once'));
  assert.ok(rig.silent.includes('f2'));
  assert.not.ok(rig.silent.some((one) => one[1] === '1'));
});

test('an answer to an earlier digest says nothing about now', () => {
  const rig = new Rig();
  rig.both(1);
  let first: Buffer | null = null;
  rig.passes = (message) => {
    const decoded = decodeWatch(message)!;
    if (decoded.kind !== WatchKind.DigestAck) return true;
    first ??= message;
    return false;
  };
  for (let i = 0; i <= HEARTBEATS + 2; i++) {
    rig.run(100);
    if (first !== null) rig.leader.receive(first);
  }
  assert.ok(rig.silent.includes('l1'));
});

test('each side notices by itself that the other one is silent', () => {
  const rig = new Rig();
  rig.both(1);
  rig.run(1000);
  rig.passes = () => false;
  rig.run(RAFT_DEFAULTS.electionMinMs - 100);
  assert.equal(rig.silent, []);
  rig.run(200);
  assert.equal([...new Set(rig.silent)].sort(), ['f1', 'l1']);
});

test('a replica that was closed is told nothing and counted nowhere', () => {
  const rig = new Rig();
  rig.both(1);
  rig.both(2);
  let resets = 0;
  rig.follower.join(uid(1), { peerSilent: () => {}, peerReset: () => resets++ });
  rig.leader.forget(uid(1));
  rig.follower.forget(uid(1));
  rig.run(5000);
  rig.follower.peerReset(LEADER);
  assert.equal(rig.silent, []);
  assert.is(resets, 0);
});

test('what is for another node or another cluster is not heard', () => {
  const rig = new Rig();
  rig.both(1);
  rig.run(1000);
  rig.passes = (message) => {
    message[message[5] === WatchKind.Digest ? 8 : 72]! ^= 1;
    return true;
  };
  rig.run(1000);
  assert.equal([...new Set(rig.silent)].sort(), ['f1', 'l1']);
});

test.run();
