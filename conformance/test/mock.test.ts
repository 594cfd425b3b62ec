// The scriptable fake server: what it answers by itself, what its rules make of that, and what it
// tells about the client.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Client } from '../net/client.ts';
import { Conn } from '../net/conn.ts';
import type { Rule } from '../mock/script.ts';
import { ScriptError, parseScript } from '../mock/script.ts';
import type { MockEvent } from '../mock/server.ts';
import { MockServer } from '../mock/server.ts';
import { batchOf, buildBatch, parseBatches, recordValues } from '../wire/batch.ts';
import { buildFrame } from '../wire/frame.ts';

const test = suite('conformance/mock');

interface Scene {
  readonly client: Client;
  readonly events: MockEvent[];
  another(): Promise<Client>;
}

async function scene(rules: readonly Rule[], play: (it: Scene) => Promise<void>): Promise<void> {
  const events: MockEvent[] = [];
  const mock = new MockServer({ hello: { node: 'odd', max_batch: 65_536 }, rules }, (event) => void events.push(event));
  const port = await mock.listen(0);
  const conns: Conn[] = [];
  const another = async (): Promise<Client> => {
    const conn = await Conn.dial({ host: '127.0.0.1', port }, { patienceMs: 2_000 });
    conns.push(conn);
    const client = new Client(conn);
    await client.open();
    return client;
  };
  try {
    await play({ client: await another(), events, another });
  } finally {
    for (const conn of conns) conn.destroy();
    await mock.close();
  }
}

const values = (bytes: Buffer): string[] => parseBatches(bytes).flatMap(recordValues).map(String);
const violations = (events: readonly MockEvent[]): unknown[] => events.filter(({ event }) => event === 'violation').map(({ text }) => text);

test('without rules a client can write, read, wait, subscribe and keep positions', () => scene([], async ({ client, events }) => {
  assert.equal([client.hello.node, client.hello.max_batch], ['odd', 65_536]);
  await client.ok('CREATE_LOG', { log: 't', durability: 1 });
  assert.is((await client.ok('PRODUCE', { log: 't', batch: batchOf('a', 'b') })).next_offset, 2n);
  assert.equal(values((await client.ok('FETCH', { log: 't', value: 1n, max_bytes: 1000 })).batches), ['a', 'b']);
  const waiting = client.request('FETCH', { log: 't', value: 2n, min_bytes: 1, max_bytes: 1000, max_wait_ms: 60_000 });
  const subscription = client.request('SUBSCRIBE', { log: 't', value: 2n, credit_bytes: 1 });
  await client.okAnswer('SUBSCRIBE', subscription);
  await client.ok('PRODUCE', { log: 't', batch: batchOf('c') });
  await client.ok('PRODUCE', { log: 't', batch: batchOf('d') });
  assert.equal(values((await client.okAnswer('FETCH', waiting)).fields.batches), ['c']);
  assert.equal((await client.deliver(subscription)).batches.length, 1, 'one byte of credit is one batch');
  client.request('CREDIT', { add_bytes: 1000 }, { id: subscription });
  assert.equal((await client.deliver(subscription)).batches[0]!.baseOffset, 3n);
  client.request('CANCEL', {}, { id: subscription });
  assert.is((await client.deliver(subscription)).status, 'CANCELED');
  await client.ok('PUT_POSITION', { log: 't', name: 'p', offset: 3n });
  assert.is((await client.ok('GET_POSITION', { log: 't', name: 'p' })).offset, 3n);
  await client.refused('GET_POSITION', { log: 't', name: 'q' }, 'POSITION_NOT_FOUND');
  const producer = await client.ok('INIT_PRODUCER', { log: 't', name: 'w' });
  await client.ok('PRODUCE', { log: 't', batch: buildBatch({ records: [{ value: 'x' }], producer: { id: producer.producer_id, epoch: 0, seq: 0n } }) });
  assert.equal([(await client.ok('INIT_PRODUCER', { log: 't', name: 'w' })).next_seq, (await client.ok('LIST_LOGS')).logs.length], [1n, 1]);
  assert.equal(violations(events), []);
}));

test('a rule holds for its op, log and connection, after `skip`, `times` times', () => scene([
  { on: 'PRODUCE', log: 't', connection: 2, skip: 1, times: 2, error: 'OVERLOADED', retry_after_ms: 70 },
], async ({ client, another }) => {
  const second = await another();
  const produce = async (it: Client, log = 't'): Promise<string> => (await it.call('PRODUCE', { log, batch: batchOf('x') })).status;
  assert.equal([await produce(client), await produce(client)], ['OK', 'OK']);
  assert.equal([await produce(second), await produce(second, 'u')], ['OK', 'OK']);
  const refused = await second.refused('PRODUCE', { log: 't', batch: batchOf('x') }, 'OVERLOADED');
  assert.is(refused.retryAfterMs, 70);
  assert.equal([await produce(second), await produce(second)], ['OVERLOADED', 'OK']);
}));

test('an error with `effect` has happened all the same', () => scene([{ on: 'PRODUCE', times: 1, error: 'LEADERSHIP_LOST', effect: true }], async ({ client }) => {
  await client.refused('PRODUCE', { log: 't', batch: batchOf('lost?') }, 'LEADERSHIP_LOST');
  assert.equal(values((await client.ok('FETCH', { log: 't', max_bytes: 100 })).batches), ['lost?']);
}));

test('answers can be changed, late, doubled, left out or any bytes', () => scene([
  { on: 'DESCRIBE_LOG', times: 1, answer: { term: '77', leader: 'n2' } },
  { on: 'DESCRIBE_CLUSTER', times: 1, delay_ms: 50 },
  { on: 'TRIM', twice: true }, { on: 'DELETE_LOG', drop: true }, { on: 'FENCE', hex: '0000000a220100000000' },
], async ({ client }) => {
  const log = await client.ok('DESCRIBE_LOG', { log: 't' });
  assert.equal([log.term, log.leader], [77n, 'n2']);
  const began = performance.now();
  await client.ok('DESCRIBE_CLUSTER');
  assert.ok(performance.now() - began > 45, 'an answer that comes late');
  const trim = client.request('TRIM', { log: 't' });
  await client.okAnswer('TRIM', trim);
  await client.okAnswer('TRIM', trim);
  const dropped = client.request('DELETE_LOG', { log: 't' });
  await client.barrier();
  assert.not.ok(client.unexpected.some(({ id }) => id === dropped));
  client.request('FENCE', { log: 't', token: 1n });
  client.request('PING', {}, { id: 900 });
  // The rest of a frame that was cut short swallows what follows it.
  await client.conn.waitFor('the bytes', () => (client.conn.receivedBytes > 0 ? true : undefined));
}));

test('a connection ends by GOAWAY, FIN or reset, at accept and preface too', () => scene([
  { on: 'PING', connection: 1, goaway: 'IDLE_TIMEOUT' }, { on: 'PING', connection: 2, close: 'fin' }, { on: 'PING', connection: 3, close: 'reset' },
  { on: 'PING', connection: 4, goaway: 'SHUTTING_DOWN', grace_ms: 500 }, { on: 'accept', connection: 5, close: 'fin' },
  { on: 'preface', connection: 6, hex: 'fa534c4743000194' },
], async ({ client, another }) => {
  client.request('PING');
  await client.endedWith('IDLE_TIMEOUT');
  const fin = await another();
  fin.request('PING');
  assert.is(await fin.conn.untilEnded(), 'fin');
  const reset = await another();
  reset.request('PING');
  assert.is(await reset.conn.untilEnded(), 'reset');
  const draining = await another();
  draining.request('PING');
  assert.equal(await draining.goaway().then(({ code, graceMs }) => [code, graceMs]), ['SHUTTING_DOWN', 500]);
  await draining.ok('DESCRIBE_CLUSTER');
  for (const matcher of [/waiting for|FIN|ended/, /preface/]) await another().then(() => assert.unreachable(), (error: Error) => assert.match(error.message, matcher));
}));

test('what a client does wrong is told', () => scene([{ on: 'PING', drop: true }], async ({ client, events }) => {
  client.request('PING', {}, { id: 5 });
  client.request('PING', {}, { id: 5 });
  client.request('HELLO', { max_frame: 1 << 22 });
  client.sendOp(0x13, Buffer.from('0001', 'hex'));
  client.conn.write(buildFrame({ op: 0x10, id: 0, status: 3, flags: 8, payload: Buffer.alloc(2) }));
  await client.ok('DESCRIBE_CLUSTER');
  const told = violations(events).join('\n');
  for (const what of [/PING 5: this id is still open/, /HELLO comes first, and once/, /DESCRIBE_LOG \d+: field log/, /flags 8/, /status 3/, /only GOAWAY has the id 0/]) assert.match(told, what);
}));

test('a wrong script says where it is wrong', () => {
  const wrong = (json: unknown): string => {
    try {
      const script = parseScript(typeof json === 'string' ? json : JSON.stringify(json));
      new MockServer(script, () => undefined);
    } catch (error) {
      if (error instanceof ScriptError) return error.message;
      throw error;
    }
    return 'right';
  };
  const rule = (it: object): unknown => ({ schema: 'sidelog-mock/1', rules: [it] });
  assert.match(wrong('{'), /no JSON/);
  assert.match(wrong({}), /schema: must be "sidelog-mock\/1"/);
  assert.match(wrong({ schema: 'sidelog-mock/1', rulez: [] }), /rulez: unknown key/);
  assert.match(wrong(rule({ on: 'PRODUCES' })), /rules\[0\]\.on: must be an op/);
  assert.match(wrong(rule({ on: 'PRODUCE', error: 'OOPS' })), /no error of the protocol is called OOPS/);
  assert.match(wrong(rule({ on: 'PRODUCE', tiems: 1 })), /rules\[0\]\.tiems: unknown key/);
  assert.match(wrong(rule({ on: 'PRODUCE', times: '1' })), /rules\[0\]\.times: must be a number/);
  assert.match(wrong(rule({ on: 'PRODUCE', hex: '0' })), /bytes in hex/);
  assert.match(wrong(rule({ on: 'PRODUCE', answer: { offset: '1' } })), /the answer to PRODUCE has the fields base_offset/);
  assert.is(wrong(rule({ on: 'PRODUCE', answer: { base_offset: 'NONE' } })), 'right');
});

test.run();
