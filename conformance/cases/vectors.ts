// The golden vectors, played against the server: every frame and batch that conformance/vectors
// says must be refused, ignored or taken, with the error and field it says.
import batchRows from '../vectors/batches.json';
import negativeRows from '../vectors/negatives.json';
import { area } from '../engine/case.ts';
import type { Context } from '../engine/context.ts';
import type { Client } from '../net/client.ts';
import { decodeAnswerError } from '../net/client.ts';
import { errorByName } from '../wire/errors.ts';
import { buildPreface } from '../wire/frame.ts';
import { layoutOf, opName } from '../wire/layouts.ts';
import { committedEnd } from './help.ts';
import { prefaced } from './hello.ts';

const define = area('vectors', 'core');

interface Expect {
  readonly error: string | null;
  readonly how: string;
  readonly field?: string;
  readonly limit?: string;
  readonly state?: string;
  readonly to?: string;
}
interface Row {
  readonly id: string;
  readonly kind: string;
  readonly hex: string;
  readonly expect: Expect;
}

const rows = (negativeRows.rows as unknown as Row[]).filter((row) => row.expect.to !== 'client');

function chosen(t: Context, state: string, how: readonly string[]): Row[] {
  return rows.filter(({ hex, kind, expect }) => {
    if (expect.state !== state || !how.includes(expect.how)) return false;
    if (state !== 'ready' || kind !== 'request') return true;
    const name = opName(parseInt(hex.slice(8, 10), 16));
    if (name === undefined || layoutOf(name).profile === 'core' || name === 'DELIVER') return true;
    const feature = name === 'TRANSFER_LEADER' ? 'transfer-leader' : name === 'REMOVE_NODE' ? 'remove-node' : layoutOf(name).profile;
    return t.has(feature);
  });
}

function idOf(bytes: Buffer): number {
  return bytes.readUInt32BE(8);
}

/** Sends the row on a connection of its own and demands its answer. */
async function answered(t: Context, client: Client, row: Row): Promise<void> {
  const bytes = Buffer.from(row.hex, 'hex');
  client.rules!.sent(bytes[4]!, idOf(bytes), bytes.subarray(12));
  client.conn.write(bytes, true);
  const frame = await client.conn.takeFrame(`the answer to ${row.id}`, (f) => f.id === idOf(bytes));
  if (row.expect.error === null) return t.equal(frame.status, 0, `the status of the answer to ${row.id}`);
  const body = decodeAnswerErrorOr(t, frame.status === 0, row, () => decodeAnswerError(frame));
  t.equal(body.name, row.expect.error, `the answer to ${row.id}`);
  if (row.expect.field) t.equal(body.tlvs.field, row.expect.field, `the TLV field of the answer to ${row.id}`);
}

function decodeAnswerErrorOr<T>(t: Context, isOk: boolean, row: Row, decode: () => T): T {
  if (isOk) t.fail(`the answer to ${row.id}`, String(row.expect.error), 'OK');
  return decode();
}

export const vectorCases = [
  define('payloads-refused', 'Every bad payload of the vectors gets its error and field, and the connection goes on.', 'TYPE-6 TYPE-7 TYPE-3 TYPE-5 TYPE-15 TYPE-18 LOG-2',
    { kills: ['accept:INVALID_ARGUMENT', 'tlv:field', 'end-on:INVALID_ARGUMENT', 'status:UNSUPPORTED_FEATURE'] }, async (t) => {
      const client = await t.ready();
      client.rules!.strictIds = false;
      for (const row of chosen(t, 'ready', ['answer'])) {
        if (row.id.includes('trash') && !t.has('trash')) continue;
        if (row.id.includes('restore') && !t.has('trash')) continue;
        if (row.expect.error === 'FLOW_CONTROL') continue; // supposes that the log is there
        await answered(t, client, row);
      }
      await t.quiet(client, 'after the vectors');
    }),

  define('accepted', 'What the vectors say is right is answered with OK or ignored.', 'TYPE-16 TYPE-20 FRAME-24 FRAME-31',
    { kills: ['refuse-ext', 'answer-to:CANCEL', 'echo-responses'] }, async (t) => {
      const client = await t.ready();
      client.rules!.strictIds = false;
      for (const row of chosen(t, 'ready', ['ignored'])) {
        client.conn.write(Buffer.from(row.hex, 'hex'), true);
        await t.quiet(client, `after ${row.id}`);
      }
      // These name a log `t`, which may exist or not: all that counts is that the ext is no reason to refuse.
      for (const row of chosen(t, 'ready', ['ok'])) {
        const bytes = Buffer.from(row.hex, 'hex');
        client.conn.write(bytes, true);
        const frame = await client.conn.takeFrame(`the answer to ${row.id}`, (f) => f.id === idOf(bytes));
        const name = frame.status === 0 ? 'OK' : decodeAnswerError(frame).name;
        t.ok(['OK', 'LOG_NOT_FOUND', 'LOG_CHANGED'].includes(name), `an answer that does not mind the ext of ${row.id}`, name);
      }
    }),

  define('frames-refused', 'Every broken or misplaced frame of the vectors ends the connection with its error.', 'FRAME-2 FRAME-5 FRAME-6 FRAME-7 FRAME-35 FRAME-36 FRAME-37',
    { kills: ['status:MALFORMED', 'status:OP_NOT_ALLOWED', 'ignore-broken-frames'] }, async (t) => {
      for (const row of chosen(t, 'ready', ['goaway'])) {
        // The ids and limits of these rows suppose a server with default settings.
        if (row.id.startsWith('length-max')) continue;
        const client = await t.ready({ label: row.id });
        client.rules!.strictIds = false;
        const bytes = Buffer.from(row.hex, 'hex');
        if (row.id === 'duplicate-id') {
          const log = await t.log(client, { log: t.name() });
          const id = client.request('FETCH', { log, from: 2, min_bytes: 1, max_wait_ms: 600_000 }, { id: 0x7000 });
          client.request('PING', {}, { id });
          await client.endedWith('DUPLICATE_ID');
          continue;
        }
        client.conn.write(bytes, true);
        await client.endedWith(row.expect.error!);
      }
    }),

  define('hello', 'Every HELLO of the vectors gets the answer that they say.', 'HELLO-1 HELLO-3 HELLO-15 HELLO-16 TYPE-6',
    { kills: ['accept:INVALID_ARGUMENT', 'tlv:field'] }, async (t) => {
      const { hello } = await t.ready();
      for (const row of chosen(t, 'preface', ['answer', 'goaway', 'ok'])) {
        if (row.id === 'hello-max-frame-small' && hello.max_batch !== 1 << 20) continue;
        const client = await prefaced(t);
        if (row.expect.how === 'goaway') {
          client.conn.write(Buffer.from(row.hex, 'hex'), true);
          await client.endedWith(row.expect.error!);
          continue;
        }
        await answered(t, client, row);
        if (row.expect.how === 'answer') await client.conn.untilEnded();
      }
    }),

  define('prefaces', 'Every preface of the vectors is refused as they say.', 'PRE-5 PRE-6 PRE-13 TLS-1',
    { kills: ['preface:accept', 'preface:status', 'preface:any-magic'] }, async (t) => {
      for (const row of chosen(t, 'new', ['close', 'preface'])) {
        if (row.expect.error === 'FORBIDDEN' && t.has('peers')) continue;
        const conn = await t.connect({ label: row.id });
        conn.write(Buffer.from(row.hex, 'hex'));
        const wanted = row.expect.how === 'close' ? Buffer.alloc(0) : Buffer.from(row.hex, 'hex');
        if (wanted.length > 0) {
          wanted[5] = 0;
          wanted.writeUInt16BE(errorByName(row.expect.error!).code, 6);
        }
        await conn.untilEnded();
        t.equal(conn.raw, wanted, `the answer to ${row.id}`);
      }
      const good = await t.connect();
      good.write(buildPreface());
      await good.takeRaw(8, 'the answer to a right preface');
    }),

  define('batches', 'Every batch of the vectors is stored or refused as they say.', 'BATCH-2 BATCH-3 BATCH-4 BATCH-5 BATCH-6 BATCH-7 BATCH-10 BATCH-11 BATCH-15 REC-1 REC-2 REC-3 REC-4 REC-5',
    { kills: ['accept:CORRUPT_BATCH', 'status:CORRUPT_BATCH', 'status:BATCH_TOO_LARGE', 'srv:produce-skip-body-crc'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const defaults = client.hello.max_batch === 1 << 20;
      for (const row of batchRows.rows as unknown as { id: string; hex: string; expect: { produce: string } }[]) {
        if (row.id.includes('over-limit') && !defaults) continue;
        const batch = Buffer.from(row.hex, 'hex');
        // Rows with a producer suppose one that the log has.
        const producer = batch.length >= 72 && batch.readBigUInt64BE(56) !== 0n;
        const before = await committedEnd(client, log);
        const { status } = await client.call('PRODUCE', { log, batch });
        const wanted = producer && row.expect.produce === 'OK' ? 'UNKNOWN_PRODUCER' : row.expect.produce;
        t.equal(status, wanted, `the answer to a PRODUCE of the batch ${row.id}`);
        const grown = (await committedEnd(client, log)) - before;
        const count = status === 'OK' ? BigInt(batch.readUInt32BE(48)) : 0n;
        t.equal(grown, count, `the records stored from the batch ${row.id}`);
      }
    }),
];
