// The side of a replica that is being brought on: pulls what was offered, part by part, into a new
// generation of its files, checks it, and asks to be opened anew on it.
//
// An install is a restart of one replica: it gives up what is in memory, and keeps every promise, because
// term and vote lie in raft-state and what was acknowledged is in the new generation.
import { DiskError } from '../../index/disk.ts';
import type { Envelope, Index, NodeId, ReplicaId } from '../../raft/types.ts';
import { CatchUpKind, encodeCatchUp, Piece } from './messages.ts';
import type { Offer, Part } from './messages.ts';
import { Pull } from './pull.ts';
import type { Staging } from './staging.ts';

export interface SinkPorts {
  envelope(to: ReplicaId, toNode: NodeId): Envelope;
  send(toNode: NodeId, message: Buffer): void;
  /** Known to be committed here. */
  commitIndex(): Index;
  /** This replica does not lead, and may still promise something. */
  mayInstall(): boolean;
  /** What is here is damaged: an offer is taken also where nothing is missing. */
  wantsAll(): boolean;
  /** Rejects with DiskError. */
  stage(offer: Offer): Promise<Staging>;
  /** Closes this replica's log, puts the staged one in its place and opens that. Never rejects. */
  install(staging: Staging): Promise<void>;
  report(what: string): void;
}

export class CatchUpSink {
  readonly #ports: SinkPorts;
  readonly #pull = new Pull();
  #offer: Offer | null = null;
  /** What the question that is out asks for. */
  #piece: Piece = Piece.SNAPSHOT;
  #at = 0;
  #ended = false;

  constructor(ports: SinkPorts) {
    this.#ports = ports;
  }

  receiveOffer(offer: Offer): void {
    if (this.#ended || this.#offer !== null || !this.#ports.mayInstall()) return;
    if (!this.#isNeeded(offer)) return this.#sayDone(offer, this.#ports.commitIndex());
    this.#offer = offer;
    void this.#run(offer);
  }

  receivePart(part: Part): void {
    const offer = this.#offer;
    if (offer === null || part.session !== offer.session || part.from !== offer.from || part.fromNode !== offer.fromNode) return;
    if (this.#pull.waiting && part.piece === this.#piece && part.at === this.#at) this.#pull.answer(part.bytes);
  }

  tick(nowMs: number): void {
    this.#pull.tick(nowMs);
  }

  /** The replica is being closed: what was staged is removed. */
  end(): void {
    this.#ended = true;
    this.#pull.end();
  }

  #isNeeded(offer: Offer): boolean {
    const { commitIndex, wantsAll } = this.#ports;
    return offer.snapshotIndex > commitIndex() || wantsAll();
  }

  async #run(offer: Offer): Promise<void> {
    let staging: Staging | null = null;
    try {
      staging = await this.#ports.stage(offer);
      const fault = (await this.#fetch(offer, staging)) ?? (await staging.check());
      // It may have been brought on by entries meanwhile.
      if (fault === '' && !this.#ended && this.#ports.mayInstall() && this.#isNeeded(offer)) {
        const taken = staging;
        staging = null;
        // This replica, and all of this object, ends there.
        await this.#ports.install(taken);
        this.#sayDone(offer, offer.snapshotIndex);
        return;
      }
      if (fault !== '') this.#ports.report(fault);
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      this.#ports.report(error.message);
    } finally {
      await staging?.discard();
    }
    this.#offer = null;
    if (!this.#ended) this.#sayDone(offer, 0);
  }

  /** Null when all of it is there; else why it is not. */
  async #fetch(offer: Offer, staging: Staging): Promise<string | null> {
    for (let position = 0; position < offer.snapshotSize; ) {
      const bytes = await this.#part(Piece.SNAPSHOT, position);
      if (bytes === null || bytes.length === 0) return 'the other side fell silent';
      if (position + bytes.length > offer.snapshotSize) return 'more came than was offered';
      await staging.writeSnapshot(position, bytes);
      position += bytes.length;
    }
    while (staging.nextIndex <= offer.snapshotIndex) {
      const bytes = await this.#part(Piece.ENTRIES, staging.nextIndex);
      if (bytes === null) return 'the other side fell silent';
      if (!(await staging.append(bytes))) return 'entries came that do not hold';
    }
    return null;
  }

  #part(piece: Piece, at: number): Promise<Buffer | null> {
    const { session, from: replicaId, fromNode } = this.#offer!;
    this.#piece = piece;
    this.#at = at;
    const { envelope, send } = this.#ports;
    return this.#pull.question(() => {
      send(fromNode, encodeCatchUp({ ...envelope(replicaId, fromNode), kind: CatchUpKind.Want, session, piece, at }));
    });
  }

  #sayDone(offer: Offer, index: Index): void {
    const envelope = this.#ports.envelope(offer.from, offer.fromNode);
    this.#ports.send(offer.fromNode, encodeCatchUp({ ...envelope, kind: CatchUpKind.Done, session: offer.session, index }));
  }
}
