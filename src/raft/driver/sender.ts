// Gives messages to the transport, and Appends the bytes they are about: at once where those are in
// memory, else after a read. Appends to one node leave in order, so that a read does not let the ones
// behind it look like a gap.
//
// Invariant: the bytes sent are the entries that the message names: those of the log as it was when the
// core made it. After a read that took longer than that, the message is dropped; the core asks again.
import { encodeMessage } from '../codec.ts';
import { MessageKind } from '../types.ts';
import type { Append, Index, Message, NodeId } from '../types.ts';
import type { LogPort, Transport } from './ports.ts';

export class Sender {
  /** Highest entry that any other node may have been sent. */
  sentIndex: Index = 0;
  readonly #log: LogPort;
  readonly #transport: Transport;
  /** Appends that wait behind a read, by the node they are for. */
  readonly #lanes = new Map<NodeId, Append[]>();
  #ended = false;

  constructor(log: LogPort, transport: Transport) {
    this.#log = log;
    this.#transport = transport;
  }

  send(messages: readonly Message[]): void {
    for (let i = 0; i < messages.length; i++) this.#sendOne(messages[i]!);
  }

  /** Nothing more leaves. */
  end(): void {
    this.#ended = true;
  }

  #sendOne(message: Message): void {
    if (message.kind !== MessageKind.Append || message.toIndex < message.fromIndex) {
      this.#transport.send(message.toNode, encodeMessage(message));
      return;
    }
    // Entries that still wait for a truncation: the next heartbeat finds out that they are missing.
    if (message.toIndex > this.#log.lastIndex) return;
    const lane = this.#lanes.get(message.toNode);
    if (lane !== undefined) {
      lane.push(message);
      return;
    }
    const body = this.#log.read(message.fromIndex, message.toIndex);
    if (body !== null) this.#sendAppend(message, body);
    else void this.#loadAndSend(message);
  }

  #sendAppend(message: Append, body: readonly Buffer[]): void {
    this.sentIndex = Math.max(this.sentIndex, message.toIndex);
    this.#transport.send(message.toNode, encodeMessage(message, body));
  }

  async #loadAndSend(first: Append): Promise<void> {
    const node = first.toNode;
    const lane = [first];
    this.#lanes.set(node, lane);
    const { generation } = this.#log;
    while (lane.length > 0) {
      const message = lane[0]!;
      const body = await this.#log.load(message.fromIndex, message.toIndex);
      if (this.#ended) return;
      // Behind a truncation those indexes hold other entries; behind a hole nothing can follow.
      if (body === null || this.#log.generation !== generation) break;
      this.#sendAppend(message, body);
      lane.shift();
    }
    this.#lanes.delete(node);
  }
}
