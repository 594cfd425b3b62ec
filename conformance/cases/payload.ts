// §1 and §1.1: payloads and ext blocks, tried on every operation that the server offers, by the
// layout tables: cut short, too long, wrong numbers, wrong text, unknown fields.
import { area } from '../engine/case.ts';
import type { Context } from '../engine/context.ts';
import { Failure } from '../engine/failure.ts';
import { decodeAnswerError } from '../net/client.ts';
import type { Client } from '../net/client.ts';
import { batchOf } from '../wire/batch.ts';
import { encodeExt, encodeFields, requestSpans, tlv, u64 } from '../wire/codec.ts';
import type { Span } from '../wire/codec.ts';
import { errorByName } from '../wire/errors.ts';
import { CRITICAL, GREASE_TLVS, LAYOUTS, NONE, U64_MAX, layoutOf } from '../wire/layouts.ts';
import type { OpName, Tlv } from '../wire/layouts.ts';
import { committedEnd } from './help.ts';

const define = area('payload', 'core');
type Input = Record<string, unknown>;

/** A right request of every op that this server offers, in an order in which all succeed. */
export function rightRequests(t: Context, log: string): [OpName, Input][] {
  const all: [OpName, Input, string?][] = [
    ['AUTH', { mech: 'token', data: Buffer.from('tok') }], ['PING', { data: Buffer.from('data') }], ['DESCRIBE_CLUSTER', {}],
    ['DESCRIBE_LOG', { log }], ['LIST_LOGS', { prefix: log }], ['TRIM', { log, offset: 0n }], ['ALTER_LOG', { log }],
    ['PRODUCE', { log, batch: batchOf('payload'), timeout_ms: 10_000 }], ['FETCH', { log, from: 0, value: 0n, max_bytes: 100 }],
    ['FIND_OFFSET', { log, time: 5n }], ['INIT_PRODUCER', { log, name: 'producer' }, 'idempotence'], ['FENCE', { log, token: 0n }, 'conditional'],
    ['PUT_POSITION', { log, name: 'pos', offset: 3n, expected: NONE }, 'conditional'], ['GET_POSITION', { log, name: 'pos' }, 'conditional'],
    ['LIST_POSITIONS', { log }, 'conditional'], ['TRANSFER_LEADER', { log, node: '' }, 'transfer-leader'],
    ['REMOVE_NODE', { node: 'no-such-node', flags: 0 }, 'remove-node'], ['CREATE_LOG', { log, durability: 1 }],
    ['SUBSCRIBE', { log, from: 0, value: 0n, credit_bytes: 0 }, 'streaming'],
  ];
  return all.filter(([, , feature]) => feature === undefined || t.has(feature)).map(([name, input]) => [name, input]);
}

interface Probe {
  readonly op: OpName;
  readonly payload: Buffer;
  readonly error: string;
  readonly field?: string;
  readonly what: string;
}

/** Sends all probes in one go and demands each one's error, and that the connection goes on. */
async function refusedAll(t: Context, client: Client, probes: readonly Probe[]): Promise<void> {
  t.ok(probes.length > 0, 'something to send');
  const ids = probes.map(({ op, payload }) => client.sendOp(LAYOUTS[op].op, payload));
  for (const [i, { error, field, what }] of probes.entries()) {
    const frame = await client.conn.takeFrame(`the answer to ${what}`, (f) => f.id === ids[i]);
    if (frame.status !== errorByName(error).code) {
      throw new Failure(`the answer to ${what}`, `${error}${field ? ` naming ${field}` : ''}`, frame.status === 0 ? 'OK' : decodeAnswerError(frame).name);
    }
    const body = decodeAnswerError(frame);
    if (field !== undefined) t.equal(body.tlvs.field, field, `the TLV field of the answer to ${what}`);
    t.equal(body.class, errorByName(error).class, `the class of the answer to ${what}`);
  }
  await t.quiet(client, 'after the probes');
}

/** The right payload of a request with one field's bytes replaced. */
function withField(op: OpName, input: Input, span: Span, bytes: Buffer): Buffer {
  const payload = encodeFields(layoutOf(op).request, input);
  return Buffer.concat([payload.subarray(0, span.start), bytes, payload.subarray(span.end)]);
}

async function eachSpan(t: Context, make: (op: OpName, input: Input, span: Span, spans: readonly Span[]) => Probe[]): Promise<void> {
  const client = await t.ready();
  const log = await t.log(client);
  const probes = rightRequests(t, log).flatMap(([op, input]) => {
    const spans = requestSpans(op, input);
    return spans.flatMap((span) => make(op, input, span, spans));
  });
  await refusedAll(t, client, probes);
  t.equal(await committedEnd(client, log), 0n, 'committed_end after requests that were all refused');
}

/** One probe or none per op. */
async function eachOp(t: Context, make: (op: OpName, input: Input) => Probe[]): Promise<void> {
  const client = await t.ready();
  const log = await t.log(client);
  await refusedAll(t, client, rightRequests(t, log).flatMap(([op, input]) => make(op, input)));
  t.equal(await committedEnd(client, log), 0n, 'committed_end after requests that were all refused');
}

const invalid = (op: OpName, payload: Buffer, field: string, what: string): Probe => ({ op, payload, error: 'INVALID_ARGUMENT', field, what: `${op} ${what}` });
const withExt = (op: OpName, input: Input, ext: Buffer): Buffer => withField(op, input, requestSpans(op, input).find((span) => span.type === 'ext')!, ext);
const GREASE = tlv(0x0a0a, Buffer.from('grease'));

export const payloadCases = [
  define('cut-short', 'Every request cut short anywhere gets INVALID_ARGUMENT that names the first field not there in full.', 'TYPE-6 TYPE-11',
    { kills: ['accept:INVALID_ARGUMENT', 'tlv:field', 'end-on:INVALID_ARGUMENT', 'srv:short-field-name'] }, async (t) => {
      await eachSpan(t, (op, input, span) => {
        if (span.type === 'batch') return [];
        const payload = encodeFields(layoutOf(op).request, input);
        return [...new Set([span.start, span.end - 1])].map((size) => invalid(op, payload.subarray(0, size), span.name, `cut to ${size} bytes`));
      });
    }),

  define('too-long', 'Bytes after the last field get INVALID_ARGUMENT that names end.', 'TYPE-7',
    { kills: ['accept:INVALID_ARGUMENT', 'tlv:field', 'srv:trailing-ignored'] }, async (t) => {
      await eachOp(t, (op, input) => {
        if (op === 'PRODUCE') return [];
        const payload = encodeFields(layoutOf(op).request, input);
        return [1, 7].map((extra) => invalid(op, Buffer.concat([payload, Buffer.alloc(extra)]), 'end', `with ${extra} bytes more`));
      });
    }),

  define('u64-too-large', 'A u64 above 2^53 − 1 gets INVALID_ARGUMENT that names the field.', 'TYPE-3',
    { kills: ['accept:INVALID_ARGUMENT', 'tlv:field', 'srv:u64-rounded'] }, async (t) => {
      await eachSpan(t, (op, input, span) => {
        if (span.type !== 'u64' && span.type !== 'u64n') return [];
        const values = [U64_MAX + 1n, 1n << 63n, NONE - 1n];
        return values.map((value) => invalid(op, withField(op, input, span, u64(value)), span.name, `with ${span.name} ${value}`));
      });
    }),

  define('none-not-allowed', 'NONE in a field that does not allow it gets INVALID_ARGUMENT that names the field.', 'TYPE-4',
    { kills: ['accept:INVALID_ARGUMENT', 'tlv:field', 'srv:none-anywhere'] }, async (t) => {
      await eachSpan(t, (op, input, span) => (span.type === 'u64' ? [invalid(op, withField(op, input, span, u64(NONE)), span.name, `with ${span.name} NONE`)] : []));
    }),

  define('bad-utf8', 'A str that is not valid UTF-8 gets INVALID_ARGUMENT that names the field.', 'TYPE-5',
    { kills: ['accept:INVALID_ARGUMENT', 'tlv:field', 'srv:utf8-any'] }, async (t) => {
      await eachSpan(t, (op, input, span) => {
        if (span.type !== 'str' || span.name === 'position_name') return [];
        // A stray byte, an overlong slash, a surrogate, a cut sequence, a number above 10FFFF.
        return ['ff', 'c0af', 'eda080', 'e298', 'f4908080'].map((hex) => {
          const bytes = Buffer.from(hex, 'hex');
          return invalid(op, withField(op, input, span, Buffer.concat([Buffer.from([0, bytes.length]), bytes])), span.name, `with ${span.name} ${hex}`);
        });
      });
    }),

  define('reserved-byte', 'A reserved byte that is not zero gets INVALID_ARGUMENT that names reserved.', 'TYPE-8',
    { kills: ['accept:INVALID_ARGUMENT', 'tlv:field', 'srv:reserved-any'] }, async (t) => {
      await eachSpan(t, (op, input, span) => (span.type === 'reserved'
        ? [1, 0x80, 0xff].map((value) => invalid(op, withField(op, input, span, Buffer.from([value])), 'reserved', `with reserved ${value}`)) : []));
    }),

  define('unknown-flags', 'A flags field with an undefined bit gets INVALID_ARGUMENT that names flags.', 'TYPE-9',
    { kills: ['accept:INVALID_ARGUMENT', 'tlv:field', 'srv:flags-any'] }, async (t) => {
      await eachSpan(t, (op, input, span) => (span.name === 'flags'
        ? [2, 3, 0x40, 0x80].map((value) => invalid(op, withField(op, input, span, Buffer.from([value])), 'flags', `with flags ${value}`)) : []));
    }),

  define('out-of-range', 'A value outside the range of its field gets INVALID_ARGUMENT that names the field.', 'TYPE-10 READ-5 LOG-15 LOG-16 LOG-19',
    { kills: ['accept:INVALID_ARGUMENT', 'tlv:field', 'srv:range-unchecked'] }, async (t) => {
      const wrong: Record<string, number[]> = { from: [5, 6, 255], durability: [0, 4, 255], replication: [2, 4, 6, 7, 255], compressions: [8, 0x80, 0xff] };
      await eachSpan(t, (op, input, span) => (wrong[span.name] ?? []).map((value) =>
        invalid(op, withField(op, input, span, Buffer.from([value])), span.name, `with ${span.name} ${value}`)));
    }),

  define('connection-goes-on', 'After an INVALID_ARGUMENT the connection goes on: a thousand pipelined requests survive one bad name.', 'TYPE-11',
    { kills: ['end-on:INVALID_ARGUMENT'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const batch = batchOf('x');
      const ids: number[] = [];
      for (let i = 0; i < 300; i++) ids.push(client.request('PRODUCE', { log: i % 100 === 50 ? '..' : log, batch }));
      for (const [i, id] of ids.entries()) {
        if (i % 100 === 50) await client.refusedAnswer('PRODUCE', id, 'INVALID_ARGUMENT', { field: 'log' });
        else await client.okAnswer('PRODUCE', id);
      }
      t.equal(await committedEnd(client, log), 297n, 'committed_end');
    }),

  define('unused-fields', 'A field that the chosen variant does not use is ignored: NONE, bad UTF-8 and any number.', 'TYPE-12',
    { modes: true, kills: ['srv:unused-judged', 'refuse-unused'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client, { interval_ms: 0xffff_ffff });
      await client.ok('PRODUCE', { log, batch: batchOf('x') });
      const bad = Buffer.from([0xff, 0xfe, 0x00]);
      for (const [from, value] of [[1, NONE], [2, NONE - 5n], [1, U64_MAX + 1n]] as const) {
        const { committed_end } = await client.ok('FETCH', { log, from, value, position_name: bad, max_bytes: 10 });
        t.equal(committed_end, 1n, `committed_end of a FETCH from ${from}`);
      }
      for (const from of [0, 3]) await client.ok('FETCH', { log, from, value: 0n, position_name: bad, max_bytes: 10 });
      if (t.has('streaming')) await client.ok('SUBSCRIBE', { log, from: 1, value: NONE, position_name: bad });
      if (t.has('conditional')) {
        await client.ok('PUT_POSITION', { log, name: 'p', offset: 0n });
        await client.ok('FETCH', { log, from: 4, value: NONE, position_name: 'p', max_bytes: 10 });
      }
      await t.log(client, { durability: 3, interval_ms: 0 });
    }),

  define('first-wrong-field', 'Of several wrong fields the first in the order of the layout is named.', 'TYPE-6 TYPE-10',
    { kills: ['tlv:field'] }, async (t) => {
      const client = await t.ready();
      await client.refused('CREATE_LOG', { log: 'fine', durability: 9, replication: 9, compressions: 255 }, 'INVALID_ARGUMENT', { field: 'durability' });
      await client.refused('CREATE_LOG', { log: 'fine', durability: 1, replication: 9, compressions: 255 }, 'INVALID_ARGUMENT', { field: 'replication' });
      await client.refused('FETCH', { log: 'fine', from: 9, flags: 9, value: NONE }, 'INVALID_ARGUMENT', { field: 'from' });
    }),
];

const ext = area('ext', 'core');

export const extCases = [
  ext('unknown-critical', 'An unknown critical TLV gets UNSUPPORTED_FEATURE.', 'TYPE-15',
    { kills: ['accept:UNSUPPORTED_FEATURE', 'status:UNSUPPORTED_FEATURE', 'srv:critical-ignored'] }, async (t) => {
      await eachOp(t, (op, input) => [0x0a0a, 77, 0x7fff].map((type) => ({
        op, payload: withExt(op, input, encodeExt([tlv(CRITICAL | type, Buffer.alloc(3))])), error: 'UNSUPPORTED_FEATURE', what: `${op} with the critical TLV ${type}`,
      })));
    }),

  ext('unknown-ignored', 'A TLV of an unknown type without the critical bit is ignored, GREASE included.', 'TYPE-16',
    { modes: true, kills: ['srv:unknown-tlv-refused', 'refuse-ext'] }, async (t) => {
      const client = await t.ready({ hello: { ext: [GREASE] } });
      const log = await t.log(client);
      await client.ok('PRODUCE', { log, batch: batchOf('one') });
      const tlvs = [...GREASE_TLVS.map((type) => tlv(type, t.random.bytes(type % 7))), tlv(77, Buffer.alloc(0))];
      for (const [op, input] of rightRequests(t, log)) {
        const plain = await client.call(op, input as never);
        const greased = await client.call(op, { ...input, ext: tlvs } as never);
        t.equal(greased.status, plain.status, `the answer to ${op} with unknown TLVs, as without`);
      }
    }),

  ext('known-either-way', 'A TLV of a known type means the same with and without the critical bit.', 'TYPE-17',
    { kills: ['strip:log_uid', 'srv:tlv-needs-critical'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const { log_uid } = await client.ok('DESCRIBE_LOG', { log });
      const other = Buffer.from(log_uid);
      other[0]! ^= 1;
      for (const bit of [0, CRITICAL]) {
        await client.ok('DESCRIBE_LOG', { log, ext: [tlv(bit | 2, log_uid)] });
        await client.refused('DESCRIBE_LOG', { log, ext: [tlv(bit | 2, other)] }, 'LOG_CHANGED', { log_uid });
        await client.refused('PRODUCE', { log, batch: batchOf('x'), ext: [tlv(bit | 2, other)] }, 'LOG_CHANGED', { log_uid });
        await client.refused('FETCH', { log, value: 0n, ext: [tlv(bit | 1, u64(5n))] }, 'BEHIND');
      }
    }),

  ext('twice', 'The same type twice in one ext gets INVALID_ARGUMENT that names ext, known or not, critical or not.', 'TYPE-18',
    { kills: ['accept:INVALID_ARGUMENT', 'tlv:field', 'srv:tlv-twice-ok'] }, async (t) => {
      await eachOp(t, (op, input) => {
        const cases: Tlv[][] = [[GREASE, GREASE], [GREASE, tlv(77, Buffer.alloc(1)), tlv(0x0a0a, Buffer.alloc(0))]];
        if (layoutOf(op).tlvs[2] && input.log) cases.push([tlv(2, Buffer.alloc(16)), tlv(CRITICAL | 2, Buffer.alloc(16))]);
        return cases.map((tlvs) => invalid(op, withExt(op, input, encodeExt(tlvs)), 'ext', 'with a TLV twice'));
      });
    }),

  ext('overrun', 'A TLV that reaches beyond its ext gets INVALID_ARGUMENT that names ext.', 'TYPE-19',
    { kills: ['accept:INVALID_ARGUMENT', 'tlv:field', 'srv:tlv-overrun'] }, async (t) => {
      const blocks = ['0001ff', '0003000a0a', '00040a0a0001', '00040a0affff', '00080a0a00000b0b0005'];
      await eachOp(t, (op, input) => blocks.map((hex) => invalid(op, withExt(op, input, Buffer.from(hex, 'hex')), 'ext', `with ext ${hex}`)));
    }),

  ext('too-long', 'An ext of more than 4,096 bytes gets INVALID_ARGUMENT that names ext; one of 4,096 is accepted.', 'TYPE-20 LIMIT-2',
    { kills: ['accept:INVALID_ARGUMENT', 'tlv:field', 'srv:ext-any-length', 'refuse-ext'] }, async (t) => {
      const fits = [tlv(0x0a0a, Buffer.alloc(4_092))];
      const client = await t.ready();
      const log = await t.log(client);
      for (const [op, input] of rightRequests(t, log)) {
        const plain = await client.call(op, input as never);
        t.equal((await client.call(op, { ...input, ext: fits } as never)).status, plain.status, `the answer to ${op} with an ext of 4,096 bytes`);
      }
      const probes = rightRequests(t, log).map(([op, input]) => invalid(op, withExt(op, input, encodeExt([tlv(0x0a0a, Buffer.alloc(4_093))])), 'ext', 'with an ext of 4,097 bytes'));
      await refusedAll(t, client, probes);
    }),

  ext('wrong-value', 'A known TLV with a wrong length or a value out of range gets INVALID_ARGUMENT that names the TLV.', 'TYPE-21',
    { kills: ['accept:INVALID_ARGUMENT', 'tlv:field', 'srv:tlv-length-any'] }, async (t) => {
      await eachOp(t, (op, input) => Object.entries(layoutOf(op).tlvs).flatMap(([type, [name, kind]]) => {
        if (op === 'LIST_LOGS' && !t.has('trash')) return [];
        if (op === 'CREATE_LOG' && !t.has('trash')) return [];
        const values = kind === 'id16' ? [Buffer.alloc(15), Buffer.alloc(17), Buffer.alloc(0)]
          : kind === 'u64' ? [Buffer.alloc(7), Buffer.alloc(9), u64(U64_MAX + 1n), u64(NONE)] : [Buffer.alloc(1)];
        return values.map((value) => invalid(op, withExt(op, input, encodeExt([tlv(CRITICAL | Number(type), value)])), name, `with ${name} ${value.toString('hex')}`));
      }));
    }),

  ext('any-order', 'The TLVs of an ext are accepted in any order.', 'TYPE-22',
    { modes: true, kills: ['srv:tlv-order', 'strip:log_uid'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const { log_uid } = await client.ok('DESCRIBE_LOG', { log });
      await client.ok('PRODUCE', { log, batch: batchOf('one') });
      const three = [tlv(1, u64(1n)), tlv(CRITICAL | 2, log_uid), tlv(0x7a7a, Buffer.alloc(2))];
      for (const order of [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]]) {
        const { committed_end, ext: answered } = await client.ok('FETCH', { log, value: 0n, max_bytes: 10, ext: order.map((i) => three[i]!) });
        t.equal([committed_end, answered.some(({ type }) => type === 2)], [1n, false], 'committed_end, and that log_uid was understood');
      }
    }),
];
