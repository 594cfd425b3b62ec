// The Raft paper (extended version), §5.1 and §5.2, sentence by sentence: terms and elections.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { MessageKind } from '../../src/raft/types.ts';
import { Cluster } from './support/cluster.ts';
import { ack, append, heartbeat, heartbeatAck, higherTerm, Lone, preVoteReply, vote, voteReply } from './support/craft.ts';

const terms = suite('raft/paper §5.1 terms');

for (const role of ['follower', 'candidate', 'leader'] as const) {
  terms(`§5.1: if one server's term is smaller than the other's, it takes the larger: ${role}`, () => {
    const lone = inRole(role);
    const term = lone.node.term + 2;
    lone.receive(append({ term, prev: [0, 0] }));
    assert.is(lone.node.term, term);
    assert.is(lone.node.role, 'follower');
    assert.is(lone.node.leader, 2);
  });
}

terms('§5.1: a candidate or leader that finds its term out of date becomes a follower, whatever says so', () => {
  for (const role of ['candidate', 'leader'] as const) {
    const make = [
      (term: number) => voteReply({ term, granted: false }),
      (term: number) => preVoteReply({ term, forTerm: term + 1, granted: false }),
      (term: number) => ack({ term, match: 1 }),
      (term: number) => heartbeat({ term }),
      (term: number) => heartbeatAck({ term }),
      (term: number) => higherTerm({ term }),
    ];
    for (const message of make) {
      const lone = inRole(role);
      const term = lone.node.term + 1;
      lone.receive(message(term));
      assert.is(lone.node.role, 'follower');
      assert.is(lone.node.term, term);
    }
  }
});

terms('§5.1: a request with a stale term is refused, and the answer carries the current term', () => {
  const lone = new Lone({ log: [3], term: 3 });
  lone.receive(append({ term: 2, prev: [1, 2], terms: [2] }), heartbeat({ term: 2 }), vote({ term: 2, lastIndex: 9, lastTerm: 2 }));
  assert.is(lone.node.lastIndex, 1);
  const replies = lone.sent();
  assert.equal(replies.map((m) => m.kind), [MessageKind.HigherTerm, MessageKind.HigherTerm, MessageKind.VoteReply]);
  assert.ok(replies.every((m) => m.term === 3));
  assert.ok(replies.every((m) => m.kind !== MessageKind.VoteReply || !m.granted));
});

terms('§5.1: answers of an older term are ignored', () => {
  const lone = new Lone({ log: [1, 1] }).lead();
  const { term } = lone.node;
  lone.receive(ack({ term: term - 1, match: 3 }), heartbeatAck({ term: term - 1, readRound: 5 }));
  assert.is(lone.node.commitIndex, 0);
  assert.is(lone.node.peers[0]!.match, 0);
});

terms('§5.1: the term and the vote of it are on disk before the answer leaves', () => {
  const lone = new Lone();
  lone.receive(vote({ term: 1 }));
  assert.equal(lone.sent(), []);
  assert.equal(lone.replica.disk.hard, { term: 0, vote: 0 });
  lone.persist();
  assert.equal(lone.replica.disk.hard, { term: 1, vote: 2 });
  assert.is(lone.sent(MessageKind.VoteReply)[0]?.granted, true);
});

terms('§5.1: a restarted server goes on with the term and vote it had', () => {
  const lone = new Lone({ term: 4, vote: 3 });
  assert.is(lone.node.term, 4);
  lone.receive(vote({ from: 2, term: 4, lastIndex: 9, lastTerm: 4 }));
  assert.is(lone.sent(MessageKind.VoteReply)[0]?.granted, false);
  lone.receive(vote({ from: 3, term: 4 }));
  assert.is(lone.sent(MessageKind.VoteReply)[0]?.granted, true);
});

terms('§5.1: a log that is ahead of the recorded term raises it: no vote was given in that term', () => {
  const lone = new Lone({ log: [1, 5], term: 3, vote: 2 });
  assert.is(lone.node.term, 5);
  assert.is(lone.node.vote, 0);
  lone.receive(vote({ from: 3, term: 5, lastIndex: 2, lastTerm: 5 }));
  assert.equal(lone.sent(), []);
  lone.persist();
  assert.is(lone.sent(MessageKind.VoteReply)[0]?.granted, true);
});

terms.run();

const elections = suite('raft/paper §5.2 elections');

elections('§5.2: when servers start up, they begin as followers', () => {
  const { replicas } = new Cluster({ voters: 3 }).start();
  for (const replica of replicas) {
    assert.is(replica.running().role, 'follower');
    assert.is(replica.running().leader, 0);
  }
});

elections('§5.2: a server remains a follower as long as it hears from a leader', () => {
  const lone = new Lone();
  for (let i = 0; i < 50; i++) {
    lone.receive(heartbeat({ term: 1 })).tick(350);
    assert.is(lone.node.role, 'follower');
  }
  for (let i = 0; i < 50; i++) {
    lone.receive(append({ term: 1 })).tick(350);
    assert.is(lone.node.role, 'follower');
  }
});

elections('§5.2: leaders send heartbeats to all followers to keep their authority', () => {
  const lone = new Lone().leadCommitted();
  lone.tick(100);
  assert.equal(lone.sent(MessageKind.Heartbeat).map((m) => m.to), [2, 3]);
  lone.tick(50);
  assert.equal(lone.sent(MessageKind.Heartbeat), []);
  lone.tick(50);
  assert.is(lone.sent(MessageKind.Heartbeat).length, 2);
});

elections('§5.2: a follower that hears nothing over its election timeout begins an election', () => {
  const lone = new Lone({ random: () => 100 });
  lone.tick(450);
  assert.is(lone.node.role, 'follower');
  lone.tick(50);
  assert.is(lone.node.role, 'preCandidate');
  assert.is(lone.sent(MessageKind.PreVote).length, 2);
});

elections('§5.2: it increments its term, votes for itself, and asks all others in parallel', () => {
  const lone = new Lone({ log: [1, 1, 2], term: 2, voters: 5 });
  lone.timeOut().sent();
  lone.receive(preVoteReply({ from: 2, term: 2, forTerm: 3 }), preVoteReply({ from: 3, term: 2, forTerm: 3 }));
  assert.is(lone.node.role, 'candidate');
  assert.is(lone.node.term, 3);
  assert.is(lone.node.vote, 1);
  lone.persist();
  const asked = lone.sent(MessageKind.Vote);
  assert.equal(asked.map((m) => m.to), [2, 3, 4, 5]);
  assert.ok(asked.every((m) => m.term === 3 && m.lastIndex === 3 && m.lastTerm === 2));
});

elections('§5.2: a candidate wins with votes of a majority in the same term, and not before', () => {
  for (const [voters, needed] of [[2, 1], [3, 1], [4, 2], [5, 2]] as const) {
    const lone = candidate(voters);
    for (let from = 2; from < 2 + needed; from++) {
      assert.is(lone.node.role, 'candidate');
      lone.receive(voteReply({ from, term: lone.node.term }));
    }
    assert.is(lone.node.role, 'leader');
  }
});

elections('§5.2: a vote counts once, however often it arrives', () => {
  const lone = candidate(5);
  for (let i = 0; i < 5; i++) lone.receive(voteReply({ from: 2, term: lone.node.term }));
  assert.is(lone.node.role, 'candidate');
});

elections('§5.2: votes of another term do not count', () => {
  const lone = candidate(3);
  lone.receive(voteReply({ from: 2, term: lone.node.term - 1 }));
  assert.is(lone.node.role, 'candidate');
});

elections('§5.2: a candidate that a majority has refused gives up at once', () => {
  const lone = candidate(3);
  lone.receive(voteReply({ from: 2, term: lone.node.term, granted: false }));
  assert.is(lone.node.role, 'candidate');
  lone.receive(voteReply({ from: 3, term: lone.node.term, granted: false }));
  assert.is(lone.node.role, 'follower');
});

elections('§5.2: each server votes for at most one candidate in a term, first come first served', () => {
  const lone = new Lone();
  lone.receive(vote({ from: 2, term: 1 }), vote({ from: 3, term: 1 }), vote({ from: 2, term: 1 })).persist();
  const replies = lone.sent(MessageKind.VoteReply);
  assert.equal(replies.map((m) => [m.to, m.granted]), [[2, true], [3, false], [2, true]]);
});

elections('§5.2: in a later term it may vote again', () => {
  const lone = new Lone();
  lone.receive(vote({ from: 2, term: 1 }), vote({ from: 3, term: 2 })).persist();
  assert.equal(lone.sent(MessageKind.VoteReply).map((m) => [m.to, m.term, m.granted]), [[3, 2, true]]);
});

elections('§5.2: a candidate gives its vote to nobody else', () => {
  const lone = candidate(3);
  lone.receive(vote({ from: 2, term: lone.node.term, lastIndex: 99, lastTerm: 99 }));
  assert.is(lone.sent(MessageKind.VoteReply)[0]?.granted, false);
});

elections('§5.2: once it wins, it sends messages to all others to prevent new elections', () => {
  const lone = candidate(3);
  lone.sent();
  lone.receive(voteReply({ from: 2, term: lone.node.term }));
  const appends = lone.sent(MessageKind.Append);
  assert.equal(appends.map((m) => m.to), [2, 3]);
  assert.ok(appends.every((m) => m.term === lone.node.term));
});

elections('§5.2: a candidate that hears a leader of at least its term recognizes it', () => {
  for (const message of [append, heartbeat]) {
    const lone = candidate(3);
    const { term } = lone.node;
    lone.receive(message({ from: 3, term }));
    assert.is(lone.node.role, 'follower');
    assert.is(lone.node.leader, 3);
    assert.is(lone.node.term, term);
  }
});

elections('§5.2: a leader of an older term is rejected and the candidate goes on', () => {
  const lone = candidate(3);
  lone.receive(append({ from: 3, term: lone.node.term - 1 }));
  assert.is(lone.node.role, 'candidate');
});

elections('§5.2: if nobody wins, candidates time out and begin a new election in a higher term', () => {
  const lone = candidate(3);
  const { term } = lone.node;
  lone.timeOut().sent();
  lone.receive(preVoteReply({ from: 2, term, forTerm: term + 1 })).persist();
  assert.is(lone.node.term, term + 1);
  assert.is(lone.sent(MessageKind.Vote).length, 2);
});

elections('§5.2: election timeouts are drawn at random from a fixed interval', () => {
  const drawn: number[] = [];
  for (let draw = 0; draw < 400; draw += 50) {
    const lone = new Lone({ random: (bound) => (assert.is(bound, 400), draw) });
    let ms = 0;
    while (lone.node.role === 'follower') {
      lone.tick(10, 10);
      ms += 10;
    }
    drawn.push(ms);
  }
  assert.equal(drawn, [400, 450, 500, 550, 600, 650, 700, 750]);
});

elections('§5.2: each candidate restarts its timeout, drawn anew, at the start of an election', () => {
  const draws = [0, 300];
  const lone = new Lone({ random: () => draws.shift() ?? 0 });
  lone.tick(400);
  assert.is(lone.sent(MessageKind.PreVote).length, 2);
  lone.tick(650);
  assert.is(lone.sent(MessageKind.PreVote).length, 0);
  lone.tick(50);
  assert.is(lone.sent(MessageKind.PreVote).length, 2);
});

elections('§5.2: giving a vote restarts the timeout, refusing one does not', () => {
  const granting = new Lone({ random: () => 0 });
  granting.tick(350).receive(vote({ term: 1 })).tick(350);
  assert.is(granting.node.role, 'follower');
  const refusing = new Lone({ log: [1], random: () => 0 });
  refusing.tick(350).receive(vote({ term: 2 })).tick(50);
  assert.is(refusing.node.role, 'preCandidate');
});

elections('§5.2: at most one leader wins in a term, even when all campaign at once', () => {
  const c = new Cluster({ voters: 5, random: () => 0 }).start();
  for (const replica of c.replicas) replica.input((node) => node.campaign());
  c.settle();
  for (let round = 0; round < 20; round++) {
    for (const replica of c.replicas) replica.input((node) => node.tick(50));
    c.settle();
  }
  // The checkers fail the test at a second leader of a term; here none may have won at all.
  assert.ok(c.replicas.filter((replica) => replica.running().role === 'leader').length <= 1);
});

elections('§5.2: timeouts that differ resolve split votes', () => {
  const c = new Cluster({ voters: 5 }).start();
  c.run(1000);
  assert.ok(c.leader() !== null);
});

elections.run();

function candidate(voters: number): Lone {
  const lone = new Lone({ voters, log: [1], term: 1 });
  lone.timeOut();
  for (let from = 2; from <= voters; from++) lone.receive(preVoteReply({ from, term: 1, forTerm: 2 }));
  lone.persist();
  assert.is(lone.node.role, 'candidate');
  lone.sent();
  return lone;
}

function inRole(role: 'follower' | 'candidate' | 'leader'): Lone {
  if (role === 'candidate') return candidate(3);
  const lone = new Lone({ log: [1], term: 1 });
  return role === 'leader' ? lone.lead() : lone;
}
