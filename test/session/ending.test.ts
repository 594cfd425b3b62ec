// Protocol §5.4 (GOAWAY and the end), §5.6 (states), §5.7 (idleness): how a connection ends, and what
// is still answered.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ErrorCode } from '../../src/wire/errors.ts';
import { FLAG_RESPONSE, Op } from '../../src/wire/ops.ts';
import { TIMEOUT_MS_MAX } from '../../src/wire/limits.ts';
import { CLOSE_DRAIN_MS } from '../../src/wire/session/session-life.ts';
import { IdleVerdict, IdleWatch } from '../../src/wire/session/idle-watch.ts';
import {
  answerOk, connect, connectReady, EMPTY_EXT, errorOf, frame, goAwayFrame, goAwayOf, hello, pingFrame, PREFACE, produceFrame,
  testConfig,
} from './support.ts';
import type { Connection } from './support.ts';

const away = suite('session/goaway');

/** A FETCH with id 3 that waits and a subscription with id 4 that streams, and a PRODUCE with id 2. */
function withOpenRequests(connection: Connection): void {
  connection.service.onRequest = (session, op, id) => {
    assert.ok(session.toWaiting(id, op === Op.FETCH ? 'fetch' : 'subscription'));
    if (op === Op.SUBSCRIBE) session.reply(id, op, null, true);
  };
  connection.service.onGoingAway = (session) => {
    session.reply(3, Op.FETCH, null);
    session.error(4, Op.DELIVER, ErrorCode.SHUTTING_DOWN);
  };
  connection.send(Buffer.concat([produceFrame(2), frame(Op.FETCH, 3), frame(Op.SUBSCRIBE, 4)]));
  connection.fresh();
}

away('a server that stops says so, ends waits and subscriptions, answers the rest, then FIN', () => {
  const connection = connectReady();
  withOpenRequests(connection);
  connection.session.goAway(ErrorCode.SHUTTING_DOWN, 'restart');
  assert.is(connection.service.count('goingAway'), 0, 'never inside the call');
  connection.host.settle();
  const [first, fetched, ended] = connection.fresh();
  const said = goAwayOf(first!);
  assert.equal([said.code, said.class, said.graceMs, said.message], [ErrorCode.SHUTTING_DOWN, 9, 5_000, 'restart']);
  assert.equal([fetched!.id, fetched!.status], [3, 0]);
  assert.equal([ended!.op, ended!.id, ended!.status], [Op.DELIVER, 4, ErrorCode.SHUTTING_DOWN]);
  assert.not(connection.host.finished);
  connection.tick(10);
  connection.tick(600);
  assert.not(connection.host.finished, 'the PRODUCE is still open');
  answerOk(connection.session, 2);
  connection.host.settle();
  assert.equal(connection.fresh().map((answer) => [answer.id, answer.status]), [[2, 0]]);
  assert.ok(connection.host.finished);
  assert.is(connection.service.count('goingAway'), 1);
  assert.is(connection.service.count('closed'), 1);
});

away('requests after the server\'s GOAWAY get SHUTTING_DOWN, PING and AUTH their answer, CANCEL its effect', () => {
  const connection = connectReady();
  connection.send(produceFrame(2));
  connection.session.goAway(ErrorCode.SHUTTING_DOWN, '');
  connection.host.settle();
  connection.fresh();
  connection.send(Buffer.concat([
    produceFrame(3), frame(Op.FETCH, 4), pingFrame(5), frame(Op.CANCEL, 2), frame(0x7f, 6),
    frame(Op.AUTH, 8, Buffer.from('0000000000000000', 'hex')),
  ]));
  const answers = connection.fresh();
  assert.equal(answers.map((answer) => [answer.id, answer.status]), [
    [3, 11], [4, 11], [5, 0], [6, 11], [8, 0],
  ]);
  assert.is(errorOf(answers[0]!).class, 9);
  assert.equal(connection.service.ids('produce'), [2]);
  assert.equal(connection.service.ids('cancel'), [2]);
  connection.send(produceFrame(2));
  assert.is(goAwayOf(connection.fresh()[0]!).code, ErrorCode.DUPLICATE_ID);
});

away('an idle connection lingers half a second for requests that crossed the GOAWAY, or until the peer leaves', () => {
  const connection = connectReady();
  connection.session.goAway(ErrorCode.SHUTTING_DOWN, '');
  connection.host.settle();
  connection.tick(50);
  connection.tick(400);
  assert.not(connection.host.finished);
  connection.send(produceFrame(2));
  assert.is(errorOf(connection.fresh()[1]!).code, ErrorCode.SHUTTING_DOWN);
  connection.tick(100);
  assert.ok(connection.host.finished);

  const polite = connectReady();
  polite.session.goAway(ErrorCode.SHUTTING_DOWN, '');
  polite.host.settle();
  polite.send(goAwayFrame());
  assert.ok(polite.host.finished);

  const gone = connectReady();
  gone.session.goAway(ErrorCode.SHUTTING_DOWN, '');
  gone.host.settle();
  gone.session.peerEnded(gone.now);
  gone.host.settle();
  assert.ok(gone.host.finished);
});

away('ends after grace_ms whatever is still open, and drops late answers silently', () => {
  const connection = connectReady();
  connection.send(produceFrame(2));
  connection.session.goAway(ErrorCode.SHUTTING_DOWN, '');
  connection.host.settle();
  connection.fresh();
  connection.tick(1);
  connection.tick(4_999);
  assert.not(connection.host.finished);
  connection.tick(1);
  assert.ok(connection.host.finished);
  assert.ok(connection.session.dead);
  answerOk(connection.session, 2);
  answerOk(connection.session, 2);
  connection.host.settle();
  assert.is(connection.fresh().length, 0);
});

away('says it once, however often it is told', () => {
  const connection = connectReady();
  connection.send(produceFrame(2));
  for (let i = 0; i < 3; i++) {
    connection.session.goAway(ErrorCode.SHUTTING_DOWN, '');
    connection.host.settle();
  }
  assert.is(connection.fresh().length, 1);
  assert.is(connection.service.count('goingAway'), 1);
});

away('a connection that drains already gets no GOAWAY, but its end moves nearer', () => {
  const connection = connectReady();
  connection.send(produceFrame(2));
  connection.session.peerEnded(connection.now);
  connection.host.settle();
  connection.tick(0);
  connection.tick(30_000);
  assert.not(connection.host.finished, 'a produce may take its time');
  connection.session.goAway(ErrorCode.SHUTTING_DOWN, '');
  connection.host.settle();
  assert.is(connection.fresh().length, 0);
  connection.tick(0);
  connection.tick(4_999);
  assert.not(connection.host.finished);
  connection.tick(1);
  assert.ok(connection.host.finished);
});

away('when the end comes in the same turn, only the end is told', () => {
  const connection = connectReady();
  withOpenRequests(connection);
  connection.session.goAway(ErrorCode.SHUTTING_DOWN, '');
  connection.send(frame(Op.PRODUCE, 0));
  assert.is(connection.service.count('goingAway'), 0);
  assert.is(connection.service.count('closed'), 1);
  assert.equal(connection.fresh().map((found) => found.op), [Op.GOAWAY, Op.GOAWAY]);
});

away('before READY a stopping server ends the connection at once', () => {
  const silent = connect();
  silent.session.goAway(ErrorCode.SHUTTING_DOWN, '');
  silent.host.settle();
  assert.ok(silent.host.destroyed);
  assert.is(silent.host.sent.length, 0);

  const early = connect();
  early.send(PREFACE);
  early.session.goAway(ErrorCode.SHUTTING_DOWN, '');
  early.host.settle();
  assert.is(goAwayOf(early.frames()[0]!).code, ErrorCode.SHUTTING_DOWN);
  assert.ok(early.host.finished);
  early.send(hello());
  assert.is(early.frames().length, 1);
});

away('after a client\'s GOAWAY nothing is read, what was read is answered, then FIN', () => {
  for (const bytes of [goAwayFrame(), goAwayFrame(60_000), frame(Op.GOAWAY, 0, Buffer.from('broken')), frame(Op.GOAWAY, 77)]) {
    const connection = connectReady();
    withOpenRequests(connection);
    connection.send(Buffer.concat([bytes, produceFrame(5), pingFrame(6)]));
    connection.send(produceFrame(7));
    assert.equal(connection.service.ids('produce'), [2]);
    assert.equal(connection.fresh().map((answer) => [answer.op, answer.id]), [[Op.FETCH, 3], [Op.DELIVER, 4]]);
    assert.not(connection.host.finished);
    answerOk(connection.session, 2);
    connection.host.settle();
    assert.equal(connection.fresh().map((answer) => answer.id), [2]);
    assert.ok(connection.host.finished);
    assert.is(connection.service.count('closed'), 1);
  }
});

away('a client\'s GOAWAY with nothing open is followed by FIN at once', () => {
  const connection = connectReady();
  connection.send(goAwayFrame());
  assert.ok(connection.host.finished);
  assert.is(connection.fresh().length, 0);
});

away('honours a shorter grace of the client, and never goes beyond its own', () => {
  const endsAfter = (graceMs: number): number => {
    const connection = connectReady();
    connection.send(Buffer.concat([produceFrame(2), goAwayFrame(graceMs)]));
    connection.tick(0);
    let ms = 0;
    for (; !connection.host.finished && ms < 20_000; ms += 100) connection.tick(100);
    return ms;
  };
  assert.is(endsAfter(300), 300);
  assert.is(endsAfter(0), 5_000);
  assert.is(endsAfter(60_000), 5_000);
});

away.run();

const end = suite('session/end');

end('the peer\'s end of stream drops waits and subscriptions; accepted produces are answered, then FIN', () => {
  const connection = connectReady();
  withOpenRequests(connection);
  connection.session.peerEnded(connection.now);
  connection.host.settle();
  assert.is(connection.service.count('closed'), 1);
  assert.ok(connection.session.draining);
  assert.not(connection.session.dead);
  assert.not(connection.host.finished);
  connection.session.reply(3, Op.FETCH, null);
  connection.session.error(4, Op.DELIVER, ErrorCode.CANCELED);
  connection.host.settle();
  assert.is(connection.fresh().length, 0, 'answers to what was dropped are dropped');
  connection.tick(60_000);
  answerOk(connection.session, 2);
  connection.host.settle();
  assert.equal(connection.fresh().map((answer) => answer.id), [2]);
  assert.ok(connection.host.finished);
});

// Fuzz, SEED=40: a FIN that came while the requests in flight held up parsing was never acted upon.
end('a peer that ended cannot hold its connection behind requests that are never answered', () => {
  const connection = connectReady(testConfig({ maxInflight: 2, graceMs: 1_000 }));
  connection.send(Buffer.concat([produceFrame(2), produceFrame(3), produceFrame(4)]));
  connection.session.peerEnded(connection.now);
  connection.host.settle();
  assert.is(connection.service.count('produce'), 2, 'the third waits for its turn');
  // No request takes longer than the longest that the protocol knows.
  connection.tick(TIMEOUT_MS_MAX + 999);
  assert.not(connection.host.finished || connection.host.destroyed);
  assert.is(connection.service.count('closed'), 0);
  connection.tick(2);
  connection.tick(CLOSE_DRAIN_MS);
  assert.ok(connection.host.finished || connection.host.destroyed);
  assert.is(connection.service.count('closed'), 1);
});

end('what stood behind the requests in flight when the peer ended is still done, in its turn', () => {
  const connection = connectReady(testConfig({ maxInflight: 2 }));
  connection.send(Buffer.concat([produceFrame(2), produceFrame(3), produceFrame(4)]));
  connection.session.peerEnded(connection.now);
  connection.host.settle();
  for (const id of [2, 3, 4]) {
    answerOk(connection.session, id);
    connection.host.settle();
  }
  assert.equal(connection.fresh().map((answer) => [answer.id, answer.status]), [[2, 0], [3, 0], [4, 0]]);
  assert.ok(connection.host.finished);
});

end('a request that wants to wait after the peer\'s end of stream is dropped', () => {
  const connection = connectReady();
  connection.send(frame(Op.FETCH, 2));
  connection.session.peerEnded(connection.now);
  connection.host.settle();
  assert.not(connection.host.finished);
  assert.ok(connection.session.toWaiting(2, 'fetch'));
  connection.host.settle();
  assert.ok(connection.host.finished);
});

end('everything received before the end of stream is carried out, also what back-pressure held', () => {
  const connection = connectReady(testConfig({ maxInflight: 1 }));
  connection.session.receive(Buffer.concat([produceFrame(2), produceFrame(3), produceFrame(4).subarray(0, 15)]), connection.now);
  connection.session.peerEnded(connection.now);
  connection.host.settle();
  assert.equal(connection.service.ids('produce'), [2]);
  answerOk(connection.session, 2);
  connection.host.settle();
  assert.equal(connection.service.ids('produce'), [2, 3]);
  assert.is(connection.service.count('closed'), 1);
  answerOk(connection.session, 3);
  connection.host.settle();
  assert.equal(connection.fresh().map((answer) => answer.id), [2, 3]);
  assert.ok(connection.host.finished, 'the frame that never became whole had no effect');
});

end('an end of stream before READY just ends the connection', () => {
  for (const bytes of [Buffer.alloc(0), PREFACE.subarray(0, 3), PREFACE, Buffer.concat([PREFACE, hello().subarray(0, 9)])]) {
    const connection = connect();
    connection.send(bytes);
    connection.session.peerEnded(connection.now);
    connection.host.settle();
    assert.ok(connection.host.finished);
    assert.is(connection.frames().length, 0);
  }
});

end('a socket that is gone takes everything with it; later answers are dropped', () => {
  const connection = connectReady();
  withOpenRequests(connection);
  connection.host.stalled = true;
  connection.session.reply(3, Op.FETCH, null);
  connection.session.peerClosed();
  assert.is(connection.service.count('closed'), 1);
  assert.ok(connection.session.dead);
  assert.is(connection.session.outputBytes, 0);
  assert.equal(connection.session.takeOutput(100), []);
  answerOk(connection.session, 2);
  connection.session.written(10);
  connection.session.peerClosed();
  connection.session.receive(produceFrame(5), connection.now);
  connection.session.tick(connection.now + 1e6);
  connection.session.turnEnd();
  connection.session.goAway(ErrorCode.SHUTTING_DOWN, '');
  assert.is(connection.service.count('closed'), 1);
  assert.is(connection.service.count('produce'), 1);
  assert.equal(connection.host.events, []);
});

end('after a fatal error the answers before it and the GOAWAY are written, and the FIN comes last', () => {
  const connection = connectReady();
  connection.host.stalled = true;
  connection.send(produceFrame(2));
  answerOk(connection.session, 2);
  connection.send(Buffer.concat([produceFrame(3), frame(Op.PRODUCE, 0), produceFrame(4)]));
  answerOk(connection.session, 3);
  assert.ok(connection.host.finished);
  connection.host.stalled = false;
  connection.host.settle();
  const frames = connection.fresh();
  assert.equal(frames.map((found) => found.op), [Op.PRODUCE, Op.GOAWAY]);
  assert.equal(connection.service.ids('produce'), [2, 3]);
});

end('input after a fatal error is discarded for 2 s, or up to one max_frame', () => {
  const connection = connectReady();
  connection.send(frame(Op.PRODUCE, 0));
  connection.tick(0);
  connection.tick(1_999);
  assert.not(connection.host.destroyed);
  connection.tick(1);
  assert.ok(connection.host.destroyed);

  const flooding = connectReady();
  flooding.send(frame(Op.PRODUCE, 0));
  const chunk = Buffer.alloc(64 * 1024);
  for (let i = 0; i < 64; i++) flooding.session.receive(chunk, flooding.now);
  assert.not(flooding.host.destroyed);
  flooding.session.receive(Buffer.alloc(1), flooding.now);
  assert.ok(flooding.host.destroyed);
  assert.is(flooding.service.count('closed'), 1);
});

end('a peer that does not take the last bytes does not keep the connection', () => {
  const connection = connectReady();
  connection.host.stalled = true;
  connection.send(frame(Op.PRODUCE, 0));
  connection.tick(0);
  connection.tick(4_999);
  assert.not(connection.host.destroyed);
  connection.tick(1);
  assert.ok(connection.host.destroyed);
});

end('an end with nothing left to send waits 2 s for the peer to close, and says FIN once', () => {
  const connection = connectReady();
  connection.send(goAwayFrame());
  connection.tick(0);
  connection.session.turnEnd();
  connection.tick(1_999);
  connection.session.turnEnd();
  assert.equal(connection.host.events, ['finish']);
  connection.tick(1);
  assert.equal(connection.host.events, ['finish', 'destroy']);
});

end('the 2 s begin when the last byte has left', () => {
  const connection = connectReady();
  connection.host.stalled = true;
  connection.send(frame(Op.PRODUCE, 0));
  connection.tick(0);
  connection.tick(4_000);
  connection.host.drain();
  connection.tick(10);
  connection.tick(1_999);
  assert.not(connection.host.destroyed);
  connection.tick(1);
  assert.ok(connection.host.destroyed);
});

end('reading is resumed when the connection ends, so that the discarding can happen', () => {
  const connection = connectReady(testConfig({ maxInflight: 1 }));
  connection.send(Buffer.concat([produceFrame(2), produceFrame(3)]));
  assert.ok(connection.host.paused);
  connection.session.error(2, Op.PRODUCE, ErrorCode.CONTROL_FLOOD);
  connection.host.settle();
  assert.not(connection.host.paused);
  assert.ok(connection.host.finished);
});

end.run();

const idle = suite('session/idle');

idle('PINGs at half of idle_ms and ends with IDLE_TIMEOUT at all of it', () => {
  const connection = connectReady(testConfig(), { idleMs: 10_000 });
  connection.tick(4_999);
  assert.is(connection.fresh().length, 0);
  connection.tick(1);
  const [question] = connection.fresh();
  assert.equal([question!.op, question!.flags, question!.status], [Op.PING, 0, 0]);
  assert.equal(question!.payload, Buffer.from('000000000000', 'hex'));
  connection.tick(4_999);
  assert.is(connection.fresh().length, 0, 'one PING is enough');
  connection.tick(1);
  assert.is(goAwayOf(connection.fresh()[0]!).code, ErrorCode.IDLE_TIMEOUT);
  assert.ok(connection.host.finished);
});

idle('every received byte counts, the answer to the PING too', () => {
  const connection = connectReady(testConfig(), { idleMs: 10_000 });
  const one = pingFrame(2);
  for (let i = 0; i < one.length; i++) {
    connection.tick(4_000);
    connection.send(one.subarray(i, i + 1));
  }
  connection.fresh();
  for (let round = 0; round < 5; round++) {
    connection.tick(6_000);
    const [question] = connection.fresh();
    assert.is(question!.op, Op.PING);
    connection.send(frame(Op.PING, question!.id, question!.payload, FLAG_RESPONSE));
    connection.tick(1);
  }
  assert.not(connection.host.finished);
});

idle('never is never', () => {
  const connection = connectReady(testConfig(), { idleMs: 0xffff_ffff });
  connection.tick(1e9);
  connection.tick(1e9);
  assert.is(connection.fresh().length, 0);
  assert.not(connection.host.finished);
});

idle('stands still while the server does not read', () => {
  const connection = connectReady(testConfig({ maxInflight: 1 }), { idleMs: 10_000 });
  connection.send(Buffer.concat([produceFrame(2), produceFrame(3)]));
  for (let i = 0; i < 100; i++) connection.tick(5_000);
  assert.is(connection.fresh().length, 0);
  answerOk(connection.session, 2);
  connection.host.settle();
  connection.fresh();
  connection.tick(9_999);
  assert.not(connection.host.finished);
  connection.tick(1);
  assert.ok(connection.host.finished, 'and goes on where it stood');
});

idle('stands still while more than 1 MiB waits for a client that does not read', () => {
  const connection = connectReady(testConfig(), { idleMs: 10_000 });
  connection.send(frame(Op.FETCH, 2));
  connection.host.stalled = true;
  connection.tick(3_000);
  connection.session.replyWithData(2, Op.FETCH, (w) => w.u16(0), [Buffer.alloc(1024 * 1024)], false);
  for (let i = 0; i < 100; i++) connection.tick(1_000);
  assert.not(connection.host.finished);
  connection.host.stalled = false;
  connection.host.settle();
  connection.tick(6_999);
  assert.not(connection.host.finished);
  connection.tick(1);
  assert.ok(connection.host.finished);
});

idle('is judged by ticks alone: bytes read just before a late tick keep the connection', () => {
  const connection = connectReady(testConfig(), { idleMs: 10_000 });
  connection.now += 60_000;
  connection.send(frame(Op.CANCEL, 9, EMPTY_EXT));
  connection.tick(0);
  assert.not(connection.host.finished);
});

idle('a pause takes away only the silence that lies in it', () => {
  const watch = new IdleWatch(0);
  watch.start(10_000);
  watch.tick(1_000, true);
  watch.touch(3_000);
  // Silent since 3,000, and from then to 4,000 we did not read: nothing has passed yet.
  watch.tick(4_000, false);
  assert.is(watch.silentMs(4_000), 0);
  assert.is(watch.tick(8_999, true), IdleVerdict.NOTHING);
  assert.is(watch.tick(9_000, true), IdleVerdict.PING);
  assert.is(watch.tick(13_999, true), IdleVerdict.NOTHING);
  assert.is(watch.tick(14_000, true), IdleVerdict.OVER);
});

idle.run();
