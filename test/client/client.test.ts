// The client's calls against a scripted server: connecting, requests, retries, errors.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { connect, ErrorCode, LocalCode } from '../../src/wire/client/client.ts';
import type { ConnectionState } from '../../src/wire/client/client.ts';
import { Op } from '../../src/wire/ops.ts';
import { FakeLog, FakeServer, OTHER_UID, UID, withServer } from './fake-server.ts';
import { errorOf, FAST, value, withClient } from './support.ts';

const test = suite('client');
test('connect says what the server said in HELLO', async () => {
  await withClient(async (client) => {
    assert.is(client.server!.node, 'n1');
    assert.is(client.server!.clusterId, '05'.repeat(16));
    assert.is(client.server!.maxBatch, 1024 * 1024);
    await client.ping(Buffer.from('x'));
  });
});

test('what was produced is fetched, with all its parts', async () => {
  await withClient(async (client) => {
    const receipt = await client.produce('t', [
      value('a'),
      { value: null, key: Buffer.from('k'), headers: [['h', Buffer.from('v')]], clientTime: 7 },
    ]);
    assert.equal(receipt, {
      baseOffset: 0, nextOffset: 2, appendTime: 1_790_000_000_000, term: 1, durability: 'fsync', copies: 1, duplicate: false,
    });
    const got = await client.fetch('t');
    assert.is(got.logUid, UID.toString('hex'));
    assert.equal([got.startOffset, got.nextOffset, got.committedEnd, got.lastTerm], [0, 2, 2, 1]);
    assert.is(String(got.records[0]!.value), 'a');
    const second = got.records[1]!;
    assert.equal([second.offset, second.value, String(second.key), second.clientTime], [1, null, 'k', 7]);
    assert.equal(second.headers, [['h', Buffer.from('v')]]);
  });
});

test('a fetch from inside a batch leaves out the records before it', async () => {
  await withClient(async (client) => {
    await client.produce('t', ['a', 'b', 'c'].map(value));
    const got = await client.fetch('t', { from: { offset: 2 } });
    assert.equal(got.records.map((record) => [record.offset, String(record.value)]), [[2, 'c']]);
    assert.is(got.nextOffset, 3);
  });
});

test('the uid seen first goes with every later request about the log', async () => {
  await withClient(async (client, server) => {
    await client.produce('t', value('a'));
    await client.produce('t', value('b'));
    assert.is(server.produced[0]!.logUid, undefined);
    assert.equal(server.produced[1]!.logUid, UID);
  });
});

test('a log made again under the same name is LOG_CHANGED, until it is forgotten', async () => {
  await withClient(async (client, server) => {
    await client.produce('t', value('a'));
    const again = new FakeLog();
    again.uid = OTHER_UID;
    server.logs.set('t', again);
    for (const call of [client.produce('t', value('b')), client.fetch('t', { from: { offset: 1 } })]) {
      const error = await errorOf(call);
      assert.is(error.code, ErrorCode.LOG_CHANGED);
      assert.equal(error.detail.logUid, OTHER_UID);
    }
    assert.is(again.end, 0);
    client.forget('t');
    await client.produce('t', value('c'));
    assert.is(again.end, 1);
  });
});

test('an error has code, name and class of the answer', async () => {
  await withClient(async (client) => {
    const error = await errorOf(client.fetch('nope'));
    assert.equal([error.code, error.name], [200, 'LOG_NOT_FOUND']);
    assert.not(error.retriable || error.outcomeUnknown || error.fatal);
    const mismatch = await errorOf(client.produce('t', value('a'), { expectedOffset: 5 }));
    assert.is(mismatch.code, ErrorCode.OFFSET_MISMATCH);
    assert.is(mismatch.detail.nextOffset, 0);
  });
});

test('a passing refusal without effect is tried again by itself', async () => {
  await withClient(async (client, server) => {
    let refusals = 0;
    server.hooks.set(Op.PRODUCE, (conn, id) => {
      if (refusals++ < 3) return conn.error(Op.PRODUCE, id, ErrorCode.OVERLOADED), true;
      return false;
    });
    const receipt = await client.produce('t', value('a'));
    assert.is(receipt.baseOffset, 0);
    assert.is(server.produced.length, 4);
  });
});

test('a produce of unknown outcome is not sent again', async () => {
  await withClient(async (client, server) => {
    server.hooks.set(Op.PRODUCE, (conn, id) => (conn.error(Op.PRODUCE, id, ErrorCode.LEADERSHIP_LOST), true));
    const error = await errorOf(client.produce('t', value('a')));
    assert.is(error.code, ErrorCode.LEADERSHIP_LOST);
    assert.ok(error.outcomeUnknown);
    assert.is(server.produced.length, 1);
  });
});

test('a produce whose connection ends is of unknown outcome; a fetch is asked again', async () => {
  await withClient(async (client, server) => {
    await client.produce('t', value('a'));
    server.hooks.set(Op.PRODUCE, (conn) => (conn.cut(), true));
    const error = await errorOf(client.produce('t', value('b')));
    assert.is(error.code, LocalCode.CONNECTION_LOST);
    assert.is(error.name, 'CONNECTION_LOST');
    assert.ok(error.outcomeUnknown && error.retriable);
    let cuts = 0;
    server.hooks.set(Op.FETCH, (conn) => (cuts++ < 2 ? (conn.cut(), true) : false));
    assert.is((await client.fetch('t')).records.length, 1);
    assert.is(server.connections.length, 4);
  });
});

test('requests made while there is no connection wait for one', async () => {
  await withClient(async (client, server) => {
    const { port } = server;
    await server.close();
    const waiting = client.fetch('t');
    await server.listen(port);
    assert.is((await waiting).records.length, 0);
  });
});

test('a request that is not answered in time is TIMED_OUT', async () => {
  await withServer(async (server) => {
    server.hooks.set(Op.FIND_OFFSET, () => true);
    const client = await connect({ address: server.address, requestTimeoutMs: 20 });
    const error = await errorOf(client.findOffset('t', 5));
    assert.is(error.code, LocalCode.TIMED_OUT);
    await server.until(() => server.received.includes(Op.CANCEL));
    await client.close();
  });
});

test('a refusal that does not pass in time is the error', async () => {
  await withServer(async (server) => {
    server.hooks.set(Op.FIND_OFFSET, (conn, id) => (conn.error(Op.FIND_OFFSET, id, ErrorCode.OVERLOADED, { retryAfterMs: 60_000 }), true));
    const client = await connect({ address: server.address, requestTimeoutMs: 20 });
    assert.is((await errorOf(client.findOffset('t', 5))).code, ErrorCode.OVERLOADED);
    await client.close();
  });
});

test('connect gives up after connectTimeoutMs, and says why', async () => {
  const server = new FakeServer();
  await server.listen();
  const { address } = server;
  await server.close();
  const states: ConnectionState[] = [];
  const error = await errorOf(connect({ address, connectTimeoutMs: 40, ...FAST, onState: (state) => states.push(state) }));
  assert.is(error.code, LocalCode.CONNECT_FAILED);
  assert.match(error.message, /ECONNREFUSED/);
  assert.ok(states.length > 1 && states.every((state) => state.event === 'failed'));
});

test('a token is given when the server wants one; a wrong one fails at once', async () => {
  await withServer(async (server) => {
    server.token = 's3cret';
    const client = await connect({ address: server.address, token: 's3cret' });
    await client.ping();
    await client.close();
    assert.is((await errorOf(connect({ address: server.address, token: 'wrong' }))).code, ErrorCode.AUTH_FAILED);
    assert.is((await errorOf(connect({ address: server.address }))).code, ErrorCode.AUTH_REQUIRED);
  });
});

test('a token is never sent over plaintext to another machine', () => {
  const refused = (error: unknown) => error instanceof TypeError && /TLS/.test(error.message);
  return connect({ address: '192.0.2.1:8400', token: 'x' }).then(
    () => assert.unreachable(),
    (error) => assert.ok(refused(error)),
  );
});

test('wrong options are a TypeError that says what is accepted', async () => {
  for (const address of ['', 'host', 'host:0', 'host:65536', '::1:8400', 'unix:']) {
    await connect({ address }).then(() => assert.unreachable(), (error) => assert.match(error.message, /expected HOST:PORT/));
  }
  await withClient(async (client) => {
    await client.fetch('t', { from: { offset: -1 } }).then(() => assert.unreachable(), (error) => assert.match(error.message, /offset -1/));
    await client.produce('t', []).then(() => assert.unreachable(), (error) => assert.match(error.message, /0 records/));
    assert.throws(() => client.producer('t', { lingerMs: 1.5 }), /lingerMs 1.5/);
  });
});

test('a server that speaks something else is told from one that is not there', async () => {
  await withServer(async (server) => {
    server.accept = (socket) => void socket.resume().end('HTTP/1.1 400 Bad Request\r\n\r\n');
    const error = await errorOf(connect({ address: server.address }));
    assert.is(error.code, LocalCode.PROTOCOL_VIOLATION);
    assert.match(error.message, /no sidelog server/);
  });
});

test('after a GOAWAY what is open is answered and what is new goes to a new connection', async () => {
  await withClient(async (client, server) => {
    const held: (() => void)[] = [];
    server.hooks.set(Op.PRODUCE, (conn, id) => {
      if (conn.number > 0) return false;
      held.push(() => server.ack(conn, id, server.log, 40, 41, true));
      conn.goAway(ErrorCode.SHUTTING_DOWN);
      return true;
    });
    const first = client.produce('t', value('a'));
    await server.until(() => server.connections.length === 2 && server.received.filter((op) => op === Op.HELLO).length === 2);
    const second = await client.produce('t', value('b'));
    assert.is(second.baseOffset, 0);
    held[0]!();
    assert.is((await first).baseOffset, 40);
  });
});

test('close answers what is under way and fails what waits', async () => {
  await withServer(async (server) => {
    const client = await connect({ address: server.address });
    let answer = (): void => undefined;
    server.hooks.set(Op.PRODUCE, (conn, id) => ((answer = () => server.ack(conn, id, server.log, 0, 1, true)), true));
    const open = client.produce('t', value('a'));
    await server.until(() => server.produced.length === 1);
    server.hooks.set(Op.GOAWAY, (conn) => (answer(), conn.socket.end(), true));
    const closed = client.close();
    assert.is((await open).baseOffset, 0);
    await closed;
    assert.is((await errorOf(client.fetch('t'))).code, LocalCode.CLIENT_CLOSED);
  });
});

test.run();
