// The side of a replica that is being brought on: pulls what was offered, part by part, into a new
// generation of its files, checks it, and asks to be opened anew on it.
//
// An install is a restart of one replica: it gives up what is in memory, and keeps every promise, because
// term and vote lie in raft-state and what was acknowledged is in the new generation.
import { DiskError } from '../../index/disk.ts';
import type { Envelope, Index, NodeId, ReplicaId } from '../../raft/types.ts';
import { CatchUpKind, encodeCatchUp, Piece } from './messages.ts';
import type { Offer, Part } from './messages.ts';
import { SILENCE_MS } from './source.ts';
import type { Staging } from './staging.ts';

/** A question that was not answered is asked again. */
const REPEAT_MS = 500;

export interface SinkPorts {
  envelope(to: ReplicaId, toNode: NodeId): Envelope;
  send(toNode: NodeId, message: Buffer): void;
  /** Known to be committed here. */
  commitIndex(): Index;
  /** This replica does not lead, and may still promise something. */
  mayInstall(): boolean;
  /** Rejects with DiskError. */
  stage(offer: Offer): Promise<Staging>;
  /** Closes this replica's log, puts the staged one in its place and opens that. Never rejects. */
  install(staging: Staging): Promise<void>;
  report(what: string): void;
}

/** One question that is out, and who waits for its answer; null = there will be none. */
interface Question {
  readonly piece: Piece;
  readonly at: number;
  readonly answer: (bytes: Buffer | null) => void;
}

export class CatchUpSink {
  readonly #ports: SinkPorts;
  #offer: Offer | null = null;
  #question: Question | null = null;
  /** Monotonic milliseconds of the last part, and of the last question. */
  #heardMs = 0;
  #askedMs = 0;
  #nowMs = 0;
  #ended = false;

  constructor(ports: SinkPorts) {
    this.#ports = ports;
  }

  receiveOffer(offer: Offer): void {
    if (this.#ended || this.#offer !== null || !this.#ports.mayInstall()) return;
    if (offer.snapshotIndex <= this.#ports.commitIndex()) return this.#sayDone(offer, this.#ports.commitIndex());
    this.#offer = offer;
    this.#heardMs = this.#nowMs;
    void this.#run(offer);
  }

  receivePart(part: Part): void {
    const offer = this.#offer;
    const question = this.#question;
    if (offer === null || question === null || part.session !== offer.session || part.at !== question.at) return;
    if (part.fromNode !== offer.fromNode || part.piece !== question.piece) return;
    this.#heardMs = this.#nowMs;
    this.#question = null;
    question.answer(part.bytes);
  }

  tick(nowMs: number): void {
    if (this.#nowMs === 0) this.#heardMs = this.#askedMs = nowMs;
    this.#nowMs = nowMs;
    const question = this.#question;
    if (question === null) return;
    if (nowMs - this.#heardMs >= SILENCE_MS) {
      this.#question = null;
      question.answer(null);
    } else if (nowMs - this.#askedMs >= REPEAT_MS) {
      this.#ask(question);
    }
  }

  /** The replica is being closed: what was staged is removed. */
  end(): void {
    this.#ended = true;
    const question = this.#question;
    this.#question = null;
    question?.answer(null);
  }

  async #run(offer: Offer): Promise<void> {
    let staging: Staging | null = null;
    try {
      staging = await this.#ports.stage(offer);
      const fault = (await this.#fetch(offer, staging)) ?? (await staging.check());
      // It may have been brought on by entries meanwhile.
      const { mayInstall, commitIndex } = this.#ports;
      if (fault === '' && !this.#ended && mayInstall() && commitIndex() < offer.snapshotIndex) {
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
    if (this.#ended) return Promise.resolve(null);
    return new Promise((answer) => {
      const question = { piece, at, answer };
      this.#question = question;
      this.#ask(question);
    });
  }

  #ask({ piece, at }: Question): void {
    const { session, from: replicaId, fromNode } = this.#offer!;
    this.#askedMs = this.#nowMs;
    const envelope = this.#ports.envelope(replicaId, fromNode);
    this.#ports.send(fromNode, encodeCatchUp({ ...envelope, kind: CatchUpKind.Want, session, piece, at }));
  }

  #sayDone(offer: Offer, index: Index): void {
    const envelope = this.#ports.envelope(offer.from, offer.fromNode);
    this.#ports.send(offer.fromNode, encodeCatchUp({ ...envelope, kind: CatchUpKind.Done, session: offer.session, index }));
  }
}
