// Frames of §4: building them, and cutting a stream of bytes into them. The reader keeps what is
// incomplete; it judges only that a length is possible.
import { u16, u32 } from './codec.ts';

export const FLAG_RESPONSE = 1;
export const FLAG_MORE = 2;
export const FRAME_HEADER_SIZE = 12;
/** Longer than any max_frame of the protocol: a server that sends this has lost its place. */
const LENGTH_ABSURD = 80 * 1024 * 1024;

export interface Frame {
  readonly op: number;
  readonly flags: number;
  readonly status: number;
  readonly id: number;
  readonly payload: Buffer;
  /** The length field. */
  readonly length: number;
}

export interface FrameInput {
  readonly op: number;
  readonly id: number;
  readonly payload: Buffer;
  readonly flags?: number;
  readonly status?: number;
  /** Replaces the right length. */
  readonly length?: number;
}

export function buildFrame(input: FrameInput): Buffer {
  return Buffer.concat([
    u32(input.length ?? 8 + input.payload.length), Buffer.from([input.op, input.flags ?? 0]), u16(input.status ?? 0), u32(input.id), input.payload,
  ]);
}

/** The preface of a client; golden bytes `fa534c47 43 01 01 00`. */
export function buildPreface(options: { plane?: string | number; max?: number; min?: number; reserved?: number } = {}): Buffer {
  const plane = options.plane ?? 'C';
  const number = typeof plane === 'string' ? plane.charCodeAt(0) : plane;
  return Buffer.from([0xfa, 0x53, 0x4c, 0x47, number, options.max ?? 1, options.min ?? 1, options.reserved ?? 0]);
}

export class FrameSplitter {
  private chunks: Buffer[] = [];
  private size = 0;

  push(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.size += chunk.length;
  }

  /** Bytes held that are no whole frame yet. */
  get held(): number {
    return this.size;
  }

  /** The next whole frame, null when bytes are missing; @throws Error at an impossible length. */
  next(): Frame | null {
    if (this.size < FRAME_HEADER_SIZE) return null;
    if (this.chunks[0]!.length < FRAME_HEADER_SIZE) this.chunks = [Buffer.concat(this.chunks)];
    const length = this.chunks[0]!.readUInt32BE(0);
    if (length < 8 || length > LENGTH_ABSURD) throw new Error(`a frame of length ${length} came`);
    if (this.size < 4 + length) return null;
    const all = this.chunks.length === 1 ? this.chunks[0]! : Buffer.concat(this.chunks);
    const whole = all.subarray(0, 4 + length);
    const rest = all.subarray(4 + length);
    this.chunks = rest.length > 0 ? [rest] : [];
    this.size = rest.length;
    return {
      op: whole[4]!, flags: whole[5]!, status: whole.readUInt16BE(6), id: whole.readUInt32BE(8), payload: whole.subarray(12), length,
    };
  }
}
