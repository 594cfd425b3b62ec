// Raft messages and configurations as bytes: there and back, and what is not one of them.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeMessage, encodeMessage, logUidOf, messageEnd, RAFT_HEADER_SIZE, RAFT_MESSAGE_SIZE_MAX } from '../../src/raft/codec.ts';
import { decodeConfiguration, encodeConfiguration } from '../../src/raft/config-codec.ts';
import { bytesOfId, idOfBytes } from '../../src/raft/ids.ts';
import { MessageKind } from '../../src/raft/types.ts';
import type { Message } from '../../src/raft/types.ts';
import { Prng } from '../support/prng.ts';

const test = suite('raft-driver/codec');

const BIG = Number.MAX_SAFE_INTEGER;
const envelope = { clusterId: '01'.repeat(16), logUid: '02'.repeat(16), from: 3, fromNode: '04'.repeat(16), to: 5, toNode: '06'.repeat(16), term: 7 };
const append = {
  ...envelope, kind: MessageKind.Append, prevIndex: 10, prevTerm: 3, fromIndex: 11, toIndex: 13, commitIndex: 9, configs: [],
  runs: [{ fromIndex: 11, term: 3 }, { fromIndex: 13, term: 7 }],
};

const ALL: Message[] = [
  { ...envelope, kind: MessageKind.PreVote, forTerm: 8, lastIndex: BIG, lastTerm: 6, transfer: false },
  { ...envelope, kind: MessageKind.PreVoteReply, forTerm: 8, granted: true },
  { ...envelope, kind: MessageKind.Vote, forTerm: 7, lastIndex: 12, lastTerm: 6, transfer: true },
  { ...envelope, kind: MessageKind.VoteReply, forTerm: 7, granted: false },
  { ...append, body: Buffer.from('the bytes of three entries') },
  { ...append, runs: [], toIndex: 10, body: Buffer.alloc(0) },
  { ...envelope, kind: MessageKind.AppendAck, match: 13, commitIndex: 11, wantsCommit: true },
  { ...envelope, kind: MessageKind.AppendReject, prevIndex: 10, hintIndex: 4, hintTerm: 2 },
  { ...envelope, kind: MessageKind.Heartbeat, commitIndex: 12, readRound: 99, idle: true },
  { ...envelope, kind: MessageKind.HeartbeatAck, commitIndex: 12, readRound: 99, idle: false, wantsCommit: true },
  { ...envelope, kind: MessageKind.TimeoutNow },
  { ...envelope, kind: MessageKind.ReadRequest, sequence: 4, incarnation: BIG },
  { ...envelope, kind: MessageKind.ReadReply, sequence: 4, incarnation: 2, index: 77 },
  { ...envelope, kind: MessageKind.HigherTerm },
];

function encoded(message: Message): Buffer {
  return encodeMessage(message, message.kind === MessageKind.Append ? [message.body as Buffer] : []);
}

test('every kind of message there is comes back as it went', () => {
  const kinds = new Set(ALL.map(({ kind }) => kind));
  assert.equal([...kinds].sort((a, b) => a - b), Object.values(MessageKind).sort((a, b) => a - b));
  for (const message of ALL) {
    const bytes = encoded(message);
    assert.equal(decodeMessage(bytes, 0, bytes.length), message);
    assert.is(logUidOf(bytes, 0), message.logUid);
    assert.is(messageEnd(bytes, 0), bytes.length);
  }
});

test('the layout is what the file says', () => {
  const bytes = encodeMessage({ ...envelope, kind: MessageKind.ReadRequest, sequence: 0x0102, incarnation: 3 });
  assert.is(bytes.toString('hex'), [
    '0000006c', '01', '0b', '0000', '01'.repeat(16), '02'.repeat(16), '0000000000000003', '0000000000000005',
    '04'.repeat(16), '06'.repeat(16), '0000000000000007', '0000000000000102', '0000000000000003',
  ].join(''));
});

test('several messages in one frame are told apart', () => {
  const frame = Buffer.concat(ALL.map(encoded));
  let count = 0;
  for (let at = 0; at < frame.length; count++) {
    const end = messageEnd(frame, at);
    assert.equal(decodeMessage(frame, at, end), ALL[count]);
    at = end;
  }
  assert.is(count, ALL.length);
});

test('an Append\'s body is not copied', () => {
  const bytes = encoded(ALL[4]!);
  const message = decodeMessage(bytes, 0, bytes.length) as { body?: Buffer };
  assert.is(message.body!.buffer, bytes.buffer);
});

test('a message that was cut short anywhere is none, and neither is one with a byte too many', () => {
  for (const message of ALL) {
    const bytes = encoded(message);
    for (let length = 0; length < bytes.length; length++) {
      assert.is(decodeMessage(bytes.subarray(0, length), 0, length), null);
      assert.is(messageEnd(bytes.subarray(0, length), 0), -1);
      // With a size that fits what is left.
      if (length < RAFT_HEADER_SIZE) continue;
      const shorter = Buffer.from(bytes.subarray(0, length));
      shorter.writeUInt32BE(length - 4, 0);
      assert.is(decodeMessage(shorter, 0, length), null, `kind ${message.kind} with ${length} bytes`);
    }
    const longer = Buffer.concat([bytes, Buffer.alloc(1)]);
    longer.writeUInt32BE(longer.length - 4, 0);
    assert.is(decodeMessage(longer, 0, longer.length), null);
  }
});

test('what a version does not know is no message: version, kind, reserved bytes, sizes', () => {
  const changed = (at: number, value: number): Buffer => {
    const bytes = encoded(ALL[0]!);
    bytes[at] = value;
    return bytes;
  };
  for (const bytes of [changed(4, 2), changed(5, 0), changed(5, 14), changed(5, 255), changed(6, 1), changed(7, 1)]) {
    assert.is(decodeMessage(bytes, 0, bytes.length), null);
  }
  const huge = encoded(ALL[4]!);
  huge.writeUInt32BE(RAFT_MESSAGE_SIZE_MAX + 1, 0);
  assert.is(messageEnd(huge, 0), -1);
  huge.writeUInt32BE(RAFT_HEADER_SIZE - 5, 0);
  assert.is(messageEnd(huge, 0), -1);
});

test('a number beyond 2^53 − 1 is no index, term or id', () => {
  for (const at of [40, 48, 88, 96]) {
    const bytes = encoded(ALL[0]!);
    bytes.fill(0xff, at, at + 8);
    assert.is(decodeMessage(bytes, 0, bytes.length), null, `at ${at}`);
  }
});

test('a count of runs that the message cannot hold ends with the message', () => {
  const bytes = encoded(ALL[5]!);
  bytes.writeUInt32BE(0xffff_ffff, 128);
  assert.is(decodeMessage(bytes, 0, bytes.length), null);
});

test('no bytes at all make it throw: random ones, and messages with random bytes changed', () => {
  const prng = new Prng(11);
  for (let i = 0; i < 3000; i++) {
    const bytes = i % 2 === 0 ? prng.bytes(prng.next(200)) : Buffer.from(encoded(ALL[prng.next(ALL.length)]!));
    for (let n = prng.next(4); n > 0 && bytes.length > 0; n--) bytes[prng.next(bytes.length)] = prng.next(256);
    decodeMessage(bytes, 0, bytes.length);
    messageEnd(bytes, 0);
    logUidOf(bytes, 0);
  }
});

test('configurations come back as they went, members in order', () => {
  const member = (replicaId: number) => ({ replicaId, nodeId: replicaId.toString(16).padStart(32, '0') });
  for (const config of [
    { voters: [], learners: [] },
    { voters: [member(1)], learners: [] },
    { voters: [member(1), member(4), member(9)], learners: [member(2), member(BIG)] },
  ]) assert.equal(decodeConfiguration(encodeConfiguration(config)), config);
});

test('bytes that are no configuration are null: version, order, doubles, length', () => {
  const member = (replicaId: number, node = replicaId) => ({ replicaId, nodeId: node.toString(16).padStart(32, '0') });
  const good = encodeConfiguration({ voters: [member(1), member(2)], learners: [member(3)] });
  for (let length = 0; length < good.length; length++) assert.is(decodeConfiguration(good.subarray(0, length)), null);
  assert.is(decodeConfiguration(Buffer.concat([good, Buffer.alloc(1)])), null);
  const otherVersion = Buffer.from(good);
  otherVersion[0] = 2;
  assert.is(decodeConfiguration(otherVersion), null);
  for (const wrong of [
    { voters: [member(2), member(1)], learners: [] },
    { voters: [member(1), member(1)], learners: [] },
    { voters: [member(1)], learners: [member(1)] },
    { voters: [member(1), member(2, 1)], learners: [] },
    { voters: [member(0)], learners: [] },
  ]) assert.is(decodeConfiguration(encodeConfiguration(wrong)), null);
});

test('ids are 32 hexadecimal digits', () => {
  assert.is(idOfBytes(bytesOfId('0123456789abcdef'.repeat(2))), '0123456789abcdef'.repeat(2));
  for (const wrong of ['', '01', 'zz'.repeat(16), '0'.repeat(33)]) assert.throws(() => bytesOfId(wrong), /32 hexadecimal digits/);
});

test.run();
