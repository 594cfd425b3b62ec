// Catching up from both sides, as one log's group sees it: what peers say about it comes in here, and the
// core's wish to bring a replica on.
//
// Invariant: only what names this very replica is heard, and nothing by one that has lost its promises.
import { FIRST_CATCH_UP_KIND, CatchUpKind, decodeCatchUp } from './messages.ts';
import { CatchUpSink } from './sink.ts';
import type { SinkPorts } from './sink.ts';
import { CatchUpSource } from './source.ts';
import type { SourcePorts } from './source.ts';
import { kindOf } from '../../raft/codec.ts';
import type { CatchUp as Wanted } from '../../raft/effects.ts';
import type { Identity, Index } from '../../raft/types.ts';

export class CatchUpPeer {
  /** Counted: what came in and was not for this replica. */
  dropped = 0;
  readonly #identity: Identity;
  readonly #source: CatchUpSource;
  readonly #sink: CatchUpSink;

  constructor(identity: Identity, source: SourcePorts, sink: SinkPorts) {
    this.#identity = identity;
    this.#source = new CatchUpSource(source);
    this.#sink = new CatchUpSink(sink);
  }

  static takes(message: Buffer): boolean {
    return kindOf(message, 0) >= FIRST_CATCH_UP_KIND;
  }

  get neededFromIndex(): Index {
    return this.#source.neededFromIndex;
  }

  begin(wanted: Wanted): void {
    this.#source.begin(wanted);
  }

  receive(bytes: Buffer): void {
    const message = decodeCatchUp(bytes);
    const { clusterId, logUid, nodeId, replicaId } = this.#identity;
    const isMine = message !== null && message.clusterId === clusterId && message.logUid === logUid &&
      message.to === replicaId && message.toNode === nodeId;
    if (!isMine) {
      this.dropped++;
      return;
    }
    if (message.kind === CatchUpKind.Offer) this.#sink.receiveOffer(message);
    else if (message.kind === CatchUpKind.Part) this.#sink.receivePart(message);
    else this.#source.receive(message);
  }

  tick(nowMs: number): void {
    this.#source.tick(nowMs);
    this.#sink.tick(nowMs);
  }

  /** This replica leads no more. */
  resigned(): void {
    this.#source.endAll();
  }

  close(): void {
    this.#source.endAll();
    this.#sink.end();
  }
}
