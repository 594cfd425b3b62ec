// §4.1 and §4.4: broken frames, misplaced ops, and the order in which a frame is judged.
import { area } from '../engine/case.ts';
import type { Context } from '../engine/context.ts';
import { batchOf } from '../wire/batch.ts';
import { FLAG_RESPONSE, buildFrame, buildPreface } from '../wire/frame.ts';
import type { FrameInput } from '../wire/frame.ts';
import { committedEnd, holds, produce, put, residentKiB, waitingFetch } from './help.ts';

const define = area('frame', 'core');
const EMPTY_PING = Buffer.alloc(6);

/** Sends a frame on a READY connection and demands a final GOAWAY with this code. */
async function ends(t: Context, frame: Partial<FrameInput>, error: string, what: string, limit?: bigint): Promise<void> {
  const client = await t.ready({ label: what });
  client.rules!.strictIds = false;
  client.conn.write(buildFrame({ op: 3, id: 9, payload: EMPTY_PING, ...frame }), true);
  await client.endedWith(error, limit === undefined ? {} : { limit });
}

export const frameCases = [
  define('pieces', 'Frames are accepted whole, one byte at a time, and many in one piece.', 'FRAME-1 TYPE-1',
    { modes: true, kills: ['deaf:PING', 'chunks-only'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await produce(client, log, 'one', 'two');
      await holds(t, client, log, ['one', 'two']);
      const pings = Array.from({ length: 20 }, (_, i) => client.bytesOf('PING', { data: Buffer.from([i]) }));
      client.conn.write(Buffer.concat(pings));
      await client.barrier();
      t.equal(client.conn.inbox.length, 20, 'answers to 20 PINGs in one piece');
    }),

  define('length-below-8', 'A length below 8 ends the connection with MALFORMED.', 'FRAME-2',
    { kills: ['status:MALFORMED', 'ignore-broken-frames', 'hold-open'] }, async (t) => {
      for (const length of [0, 1, 7]) await ends(t, { length }, 'MALFORMED', `length ${length}`);
    }),

  define('length-above-max', 'A length above the announced max_frame ends the connection with FRAME_TOO_LARGE and the limit.', 'FRAME-3 FRAME-11 ERR-4',
    { kills: ['status:FRAME_TOO_LARGE', 'tlv:limit', 'ignore-broken-frames'] }, async (t) => {
      const { hello } = await t.ready();
      for (const length of [hello.max_frame + 1, 0x7fff_ffff, 0xffff_ffff]) {
        await ends(t, { length, payload: Buffer.alloc(0) }, 'FRAME_TOO_LARGE', `length ${length}`, BigInt(hello.max_frame));
      }
    }),

  define('length-before-ready', 'Before HELLO is answered a length above 16,384 ends the connection with FRAME_TOO_LARGE and that limit.', 'FRAME-4',
    { kills: ['status:FRAME_TOO_LARGE', 'tlv:limit'] }, async (t) => {
      const client = await t.client();
      client.conn.write(buildPreface());
      await client.conn.takeRaw(8, 'the preface');
      client.conn.startFraming();
      client.conn.write(buildFrame({ op: 1, id: 1, length: 16_385, payload: Buffer.alloc(0) }));
      await client.endedWith('FRAME_TOO_LARGE', { limit: 16_384n });
    }),

  define('reserved-flags', 'A reserved-critical flag ends the connection with MALFORMED, in requests and responses.', 'FRAME-5',
    { kills: ['status:MALFORMED', 'clear-frame-flags'] }, async (t) => {
      for (const flags of [0x04, 0x08, 0x10, 0x20, 0x3c]) await ends(t, { flags }, 'MALFORMED', `flags ${flags.toString(16)}`);
      await ends(t, { flags: FLAG_RESPONSE | 0x04 }, 'MALFORMED', 'a response with flag 04');
    }),

  define('id-0', 'A request with id 0 ends the connection with MALFORMED.', 'FRAME-6',
    { kills: ['status:MALFORMED', 'ignore-broken-frames'] }, async (t) => {
      for (const op of [0x03, 0x10, 0x20, 0x05]) await ends(t, { op, id: 0 }, 'MALFORMED', `op ${op.toString(16)} with id 0`);
    }),

  define('request-status', 'A request with a status ends the connection with MALFORMED.', 'FRAME-7',
    { kills: ['status:MALFORMED', 'ignore-broken-frames'] }, async (t) => {
      for (const status of [1, 202, 0xffff]) await ends(t, { status }, 'MALFORMED', `status ${status}`);
    }),

  define('ignorable-flags', 'The flags 40 and 80, and MORE on a request, are ignored.', 'FRAME-8 FRAME-9',
    { modes: true, kills: ['reject-frame-flags', 'deaf:PING'] }, async (t) => {
      const client = await t.ready();
      for (const flags of [0x40, 0x80, 0xc0, 0x02, 0xc2]) {
        const { data } = await client.ok('PING', { data: Buffer.from([flags]) }, { flags });
        t.equal(data, Buffer.from([flags]), `the answer to a PING with flags ${flags.toString(16)}`);
      }
    }),

  define('goaway-id-ignored', 'The id of a GOAWAY does not matter.', 'FRAME-10',
    { kills: ['hold-open', 'goaway-id-malformed'] }, async (t) => {
      for (const id of [0, 1, 77]) {
        const client = await t.ready();
        client.request('GOAWAY', { message: 'bye' }, { id });
        await client.conn.untilEnded();
        t.equal(client.conn.inbox.length, 0, 'frames before the end');
      }
    }),

  define('header-judged-at-once', 'A header is judged when its 12 bytes are there, without its payload.', 'FRAME-11',
    { kills: ['wait-for-payload', 'ignore-broken-frames'] }, async (t) => {
      for (const [frame, what] of [[{ id: 0 }, 'id 0'], [{ status: 5 }, 'a status'], [{ flags: 0x08 }, 'flag 08']] as const) {
        await ends(t, { ...frame, length: 5_000, payload: Buffer.alloc(0) }, 'MALFORMED', `${what}, payload missing`);
      }
    }),

  define('no-memory-by-length', 'A large length alone makes the server reserve nothing: 200 such frames cost little.', 'FRAME-12 LIMIT-3',
    { kills: ['srv:alloc-by-length'], needs: ['pid'] }, async (t) => {
      const { hello } = await t.ready();
      const pid = t.target.endpoints[0]!.pid!;
      const before = residentKiB(pid);
      for (let i = 0; i < 200; i++) {
        const client = await t.ready({ label: 'a header without payload' });
        client.conn.write(buildFrame({ op: 0x20, id: 1, length: hello.max_frame, payload: Buffer.alloc(16) }));
      }
      await (await t.ready()).barrier();
      const grown = residentKiB(pid) - before;
      const allowed = 200 * 512;
      t.ok(grown < allowed, `200 headers that announce ${hello.max_frame} bytes cost less than ${allowed} KiB`, `${grown} KiB`);
    }),

  define('nothing-after-broken', 'No byte after a broken frame is interpreted.', 'FRAME-13',
    { kills: ['status:MALFORMED', 'clear-frame-flags'] }, async (t) => {
      const helper = await t.ready({ label: 'helper' });
      const log = await t.log(helper);
      const client = await t.ready();
      client.rules!.strictIds = false;
      const broken = buildFrame({ op: 3, id: 5, flags: 0x10, payload: EMPTY_PING });
      const good = client.bytesOf('PRODUCE', put(log, batchOf('must not be stored')));
      client.conn.write(Buffer.concat([broken, good]));
      await client.endedWith('MALFORMED');
      await helper.barrier();
      t.equal(await committedEnd(helper, log), 0n, 'committed_end after a PRODUCE behind a broken frame');
    }),

  define('truncated-then-end', 'A frame that is not complete when the stream ends has no effect.', 'FRAME-14',
    { kills: ['hold-open'] }, async (t) => {
      const helper = await t.ready({ label: 'helper' });
      const log = await t.log(helper);
      for (const cut of [1, 40]) {
        const client = await t.ready();
        const frame = client.bytesOf('PRODUCE', put(log, batchOf('must not be stored')));
        client.conn.write(frame.subarray(0, frame.length - cut));
        await client.conn.end();
        await client.conn.untilEnded();
      }
      t.equal(await committedEnd(helper, log), 0n, 'committed_end after unfinished PRODUCEs');
    }),

  define('unknown-ops', 'An unknown op is answered with UNKNOWN_OP, and the connection goes on.', 'FRAME-33 FRAME-34',
    { modes: true, kills: ['status:UNKNOWN_OP', 'end-on:UNKNOWN_OP', 'srv:unknown-op-fatal'] }, async (t) => {
      const client = await t.ready();
      client.rules!.strictIds = false;
      for (const op of [0x00, 0x06, 0x0f, 0x19, 0x23, 0x2f, 0x38, 0x5f, 0x70, 0x7e, 0x7f, 0x80, 0xff]) {
        const id = client.sendOp(op, Buffer.from('anything at all'));
        const frame = await client.conn.takeFrame(`the answer to op ${op.toString(16)}`, (f) => f.id === id);
        t.equal([frame.op, frame.status], [op, 3], `op and status of the answer to op ${op.toString(16)}`);
      }
      await t.quiet(client, 'after unknown ops');
    }),

  define('peer-ops', 'A peer op (60 to 6F) ends the connection with OP_NOT_ALLOWED.', 'FRAME-35',
    { kills: ['status:OP_NOT_ALLOWED', 'srv:peer-ops-unknown'] }, async (t) => {
      for (const op of [0x60, 0x61, 0x6a, 0x6f]) await ends(t, { op }, 'OP_NOT_ALLOWED', `op ${op.toString(16)}`);
    }),

  define('deliver-as-request', 'DELIVER as a request ends the connection with OP_NOT_ALLOWED.', 'FRAME-36',
    { kills: ['status:OP_NOT_ALLOWED', 'ignore-broken-frames'] }, async (t) => {
      await ends(t, { op: 0x33, payload: Buffer.alloc(10) }, 'OP_NOT_ALLOWED', 'DELIVER as a request');
    }),

  define('order-of-judgement', 'A frame that is wrong in two ways gets the first of them in the order of §4.4.', 'FRAME-37',
    { kills: ['status:MALFORMED', 'status:DUPLICATE_ID', 'status:FRAME_TOO_LARGE'] }, async (t) => {
      const { hello } = await t.ready();
      await ends(t, { length: hello.max_frame + 1, flags: 0x04 }, 'FRAME_TOO_LARGE', 'too long, with flag 04');
      await ends(t, { op: 0x60, id: 0 }, 'MALFORMED', 'a peer op with id 0');
      await ends(t, { op: 0x61, status: 3 }, 'MALFORMED', 'a peer op with a status');
      const client = await t.ready();
      client.rules!.strictIds = false;
      client.sendOp(0x60, EMPTY_PING, { flags: FLAG_RESPONSE, id: 0, status: 7 });
      await t.quiet(client, 'a response with id 0, a status and a peer op is a response, so ignored');
      const log = await t.log(client);
      const open = await waitingFetch(t, client, log);
      client.sendOp(0x19, EMPTY_PING, { id: open });
      await client.endedWith('DUPLICATE_ID');
      const other = await t.ready();
      const id = other.sendOp(0x19, Buffer.alloc(3, 0xff));
      const frame = await other.conn.takeFrame('the answer to an unknown op', (f) => f.id === id);
      t.equal(frame.status, 3, 'status of an unknown op whose payload is nonsense');
    }),
];
