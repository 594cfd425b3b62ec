// Catching up and repair from both sides, as one log's group sees them: what peers say about it comes in
// here, and the core's wish to bring a replica on.
//
// Invariant: only what names this very replica is heard, and nothing by one that has lost its promises.
import { FIRST_CATCH_UP_KIND, CatchUpKind, decodeCatchUp, NO_SESSION } from './messages.ts';
import { Repairer } from './repairer.ts';
import type { RepairPorts } from './repairer.ts';
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
  readonly #repairer: Repairer;

  /** `wantsAll`: this replica cannot use what is on its disk, and is to be brought on anew. */
  constructor(identity: Identity, source: SourcePorts, sink: Omit<SinkPorts, 'wantsAll'>, repair: RepairPorts, wantsAll: boolean) {
    this.#identity = identity;
    this.#source = new CatchUpSource(source);
    this.#repairer = new Repairer(repair, wantsAll);
    this.#sink = new CatchUpSink({ ...sink, wantsAll: () => this.#repairer.wantsAll });
  }

  /** Entries are damaged here. */
  get damaged(): boolean {
    return this.#repairer.damaged;
  }

  /** What is on this replica's disk can be used no longer. */
  wantAll(): void {
    this.#repairer.wantsAll = true;
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
    else if (message.kind === CatchUpKind.Part && message.session === NO_SESSION) this.#repairer.receive(message);
    else if (message.kind === CatchUpKind.Part) this.#sink.receivePart(message);
    else this.#source.receive(message);
  }

  tick(nowMs: number): void {
    this.#source.tick(nowMs);
    this.#sink.tick(nowMs);
    this.#repairer.tick(nowMs);
  }

  /** This replica leads no more. */
  resigned(): void {
    this.#source.endAll();
  }

  close(): void {
    this.#source.endAll();
    this.#sink.end();
    this.#repairer.end();
  }
}
