// Kill -9 under load, on the built file: rounds of random timing on one data directory. After each
// round every acked record must be there, once, in order, byte-identical, without any help.
//
//   npm run crash -- [--rounds N] [--seed S] [--nodes PATH,PATH] [--keep]
//
// --nodes: runtimes to take in turn, so that a log written through one index backend is opened by
// the other. Ends with `N passed, N failed` (rounds).
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { readOptions } from '../support/run-options.mjs';
import { Connection, Op, batch, createLog, fetch, initProducer, produce, readAck, readFetch, readInitProducer } from './wire.mjs';

const LOG = 'crash';
const SEGMENT_BYTES = 1024 * 1024;
const READY_TIMEOUT_MS = 20_000;
const STATUS_LOG_EXISTS = 201;
const STATUS_SHUTTING_DOWN = 11;

const USAGE = 'usage: npm run crash -- [--rounds N] [--seed S] [--nodes PATH,PATH] [--keep]';
const values = readOptions({
  name: 'crash',
  usage: USAGE,
  options: {
    rounds: { type: 'string', default: '20' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    nodes: { type: 'string', default: process.execPath },
    keep: { type: 'boolean', default: false },
  },
  isValid: ({ rounds, seed }) => /^[1-9][0-9]*$/.test(rounds) && /^[0-9]+$/.test(seed),
});
const rounds = Number(values.rounds);
const nodes = values.nodes.split(',').filter((path) => path === process.execPath || existsSync(path));
const random = generator(Number(values.seed));
const home = mkdtempSync(join(tmpdir(), 'sidelog-crash-'));
const data = join(home, 'data');
const product = join(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '..', '..', 'dist', 'sidelog.cjs');

/** What must be true: acked batches by base offset, what may or may not be there, what was seen. */
const model = { acked: new Map(), unknown: new Map(), verifiedEnd: 0, verifiedHash: createHash('sha256'), seen: new Set(), lastOf: new Map() };
let server = null;
let counter = 0;
/** The idempotent producer's identity and its batches that were never acked, to be resent as they were. */
const idempotent = { producerId: 0, epoch: 0, seq: 0, pending: [] };

console.log(`crash: ${rounds} rounds, seed ${values.seed}, ${nodes.length} runtime(s)`);
const totals = { passed: 0, failed: 0 };
process.on('exit', () => {
  server?.child.kill('SIGKILL');
  if (!values.keep && totals.failed === 0) rmSync(home, { recursive: true, force: true });
});
for (let round = 1; round <= rounds; round++) {
  try {
    const summary = await runRound(round);
    totals.passed++;
    if (round % 10 === 0 || round === rounds) console.log(`round ${round}: ${summary}`);
  } catch (error) {
    totals.failed++;
    console.log(`round ${round} FAILED: ${error.stack}\nreplay: npm run crash -- --rounds ${round} --seed ${values.seed}; data kept in ${data}`);
    break;
  }
}
if (totals.failed === 0) {
  try {
    await finalCheck();
  } catch (error) {
    totals.failed++;
    console.log(`final check FAILED: ${error.stack}; data kept in ${data}`);
  }
}
server?.child.kill('SIGKILL');
console.log(`${totals.passed} passed, ${totals.failed} failed`);
process.exit(totals.failed === 0 ? 0 : 1);

async function runRound(round) {
  server = await start(round);
  // Some rounds kill in the middle of recovery or of the first open, before any load.
  if (random(8) === 0) {
    await delay(random(30));
    await kill();
    server = await start(round + 1);
  }
  await verifyTail();
  const load = Promise.all([plainLoad('a'), plainLoad('b'), idempotentLoad()]);
  await delay(20 + random(500));
  await kill();
  await load;
  return `${model.verifiedEnd} records verified, ${model.acked.size} acked batches wait for the next check`;
}

/** Two more starts: everything from the first record, and the offline check of every checksum. */
async function finalCheck() {
  server = await start(1);
  await verifyTail();
  const incremental = model.verifiedHash.copy().digest('hex');
  const again = createHash('sha256');
  await readFrom(0, (record) => again.update(record.value));
  if (again.digest('hex') !== incremental) throw new Error('the whole log read at the end differs from what was verified round by round');
  await kill();
  execFileSync(nodes[0], [product, 'verify', '--data-dir', data], { stdio: ['ignore', 'ignore', 'inherit'] });
  console.log(`${model.verifiedEnd} records in all, read again and verified offline`);
}

function start(round) {
  const node = nodes[round % nodes.length];
  const child = spawn(node, [product, 'serve', '--data-dir', data, '--listen', '127.0.0.1:0', '--log-level', 'warn'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (chunk) => (errors += chunk));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not ready after ${READY_TIMEOUT_MS} ms: ${errors}`)), READY_TIMEOUT_MS);
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += chunk;
      if (!text.includes('\n')) return;
      clearTimeout(timer);
      resolve({ child, ended, port: Number(JSON.parse(text.split('\n')[0]).address.split(':').at(-1)) });
    });
    ended.then((code) => {
      clearTimeout(timer);
      reject(new Error(`the server ended with ${code} before it was ready: ${errors}`));
    });
  });
}

async function kill() {
  server.child.kill('SIGKILL');
  await server.ended;
}

async function open() {
  const connection = await Connection.open(server.port);
  const { status } = await connection.call(Op.CREATE_LOG, createLog(LOG, SEGMENT_BYTES));
  if (status !== 0 && status !== STATUS_LOG_EXISTS) throw new Error(`CREATE_LOG: ${status}`);
  return connection;
}

/** Pipelined batches without a producer: acked ones must be there, the others at most once. */
async function plainLoad(name) {
  const connection = await open().catch(lost);
  if (connection === undefined) return;
  const slots = Array.from({ length: 1 + random(48) }, async () => {
    for (;;) {
      const values = makeValues(name);
      const outcome = await connection.call(Op.PRODUCE, produce(LOG, batch(values))).catch(lost);
      if (outcome === undefined) {
        for (const value of values) model.unknown.set(keyOf(value), value);
        return;
      }
      if (outcome.status === STATUS_SHUTTING_DOWN) return;
      if (outcome.status !== 0) throw new Error(`PRODUCE: status ${outcome.status}`);
      acked(readAck(outcome.payload), values);
    }
  });
  await Promise.all(slots);
}

/** One idempotent producer over all rounds: resends what was not acked, byte for byte. */
async function idempotentLoad() {
  const connection = await open().catch(lost);
  if (connection === undefined) return;
  if (idempotent.producerId === 0) {
    const answer = await connection.call(Op.INIT_PRODUCER, initProducer(LOG, 'crash')).catch(lost);
    // Not answered: the next round's INIT_PRODUCER raises the epoch, nothing was produced yet.
    if (answer === undefined) return;
    if (answer.status !== 0) throw new Error(`INIT_PRODUCER: status ${answer.status}`);
    const { producerId, epoch, nextSeq } = readInitProducer(answer.payload);
    Object.assign(idempotent, { producerId, epoch, seq: nextSeq });
  }
  const resend = idempotent.pending;
  idempotent.pending = [];
  const send = async (entry) => {
    idempotent.pending.push(entry);
    const outcome = await connection.call(Op.PRODUCE, produce(LOG, entry.bytes)).catch(lost);
    if (outcome === undefined) return false;
    if (outcome.status !== 0) throw new Error(`idempotent PRODUCE of seq ${entry.seq}: status ${outcome.status}`);
    idempotent.pending.splice(idempotent.pending.indexOf(entry), 1);
    acked(readAck(outcome.payload), entry.values);
    return true;
  };
  const going = resend.map(send);
  const loops = Array.from({ length: 8 }, async () => {
    for (;;) {
      const values = makeValues('i');
      const seq = idempotent.seq++;
      if (!(await send({ seq, values, bytes: batch(values, idempotent.producerId, idempotent.epoch, seq) }))) return;
    }
  });
  await Promise.all([...going, ...loops]);
  idempotent.pending.sort((x, y) => x.seq - y.seq);
}

function lost(error) {
  if (error.message !== 'lost') throw error;
  return undefined;
}

/** One to twenty unique records, now and then a large one. */
function makeValues(name) {
  return Array.from({ length: 1 + random(random(4) === 0 ? 20 : 3) }, () => {
    const size = random(50) === 0 ? 20_000 + random(150_000) : random(600);
    return Buffer.concat([Buffer.from(`${name}-${++counter}|`), Buffer.alloc(size, 97 + (counter % 26))]);
  });
}

function keyOf(value) {
  return value.toString('latin1', 0, value.indexOf(0x7c));
}

function acked({ baseOffset, nextOffset }, records) {
  if (nextOffset - baseOffset !== records.length) throw new Error(`an ack of ${nextOffset - baseOffset} records for ${records.length}`);
  const before = model.acked.get(baseOffset);
  if (before !== undefined && keyOf(before[0]) !== keyOf(records[0])) throw new Error(`offset ${baseOffset} was acked twice`);
  if (baseOffset >= model.verifiedEnd) model.acked.set(baseOffset, records);
  else if (!model.seen.has(keyOf(records[0]))) throw new Error(`acked at ${baseOffset}, which was read before without it`);
}

/** Reads what came since the last check and holds it against the model. */
async function verifyTail() {
  let expected = null;
  let index = 0;
  const end = await readFrom(model.verifiedEnd, ({ offset, value }) => {
    if (offset !== model.verifiedEnd) throw new Error(`offset ${offset} where ${model.verifiedEnd} was to come`);
    if (expected === null && model.acked.has(offset)) {
      expected = model.acked.get(offset);
      index = 0;
      model.acked.delete(offset);
    }
    const key = keyOf(value);
    if (expected !== null) {
      if (!value.equals(expected[index])) throw new Error(`offset ${offset}: ${key} where ${keyOf(expected[index])} was acked`);
      if (++index === expected.length) expected = null;
    } else if (!model.unknown.has(key) && !idempotent.pending.some(({ values: list }) => list.some((item) => item.equals(value)))) {
      throw new Error(`offset ${offset}: ${key} was never sent, or its sending was not unknown`);
    }
    if (model.seen.has(key)) throw new Error(`offset ${offset}: ${key} is there twice`);
    model.seen.add(key);
    model.unknown.delete(key);
    model.verifiedHash.update(value);
    model.verifiedEnd++;
  });
  if (expected !== null || end !== model.verifiedEnd) throw new Error(`the log ends at ${end}, in the middle of an acked batch`);
  const missing = [...model.acked.keys()].sort((x, y) => x - y);
  if (missing.length > 0) throw new Error(`acked at ${missing[0]} (and ${missing.length - 1} more) but the log ends at ${end}`);
}

/** Calls `visit` for every record from `offset` to the committed end; resolves with that end. */
async function readFrom(offset, visit) {
  const connection = await open();
  let next = offset;
  for (;;) {
    const { status, payload } = await connection.call(Op.FETCH, fetch(LOG, next, 4 << 20));
    if (status !== 0) throw new Error(`FETCH at ${next}: status ${status}`);
    const answer = readFetch(payload);
    for (const record of answer.records) {
      if (record.offset < next) continue;
      visit(record);
      next = record.offset + 1;
    }
    if (next >= answer.committedEnd) {
      connection.destroy();
      return answer.committedEnd;
    }
    if (answer.records.length === 0) throw new Error(`FETCH at ${next} gave nothing below ${answer.committedEnd}`);
  }
}

/** mulberry32: a small generator whose whole state is the seed. */
function generator(seed) {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  };
}
