// Bytes on their way out of one connection. Small frames are gathered in one buffer; a large piece
// (a batch) is passed on as it is, so it is not copied. Nothing is sent here.
import { Writer } from '../bytes.ts';

/** From this size on a second buffer in a vectored write is cheaper than a copy. */
const ATTACH_SIZE_MIN = 32 * 1024;
const BUFFER_SIZE = 64 * 1024;
const IDLE_SIZE = 4096;
/** Up to this size a copy is cheaper than another buffer to write in. */
const COPY_SIZE_MAX = 2048;

export class Output {
  /** Where small frames are written; complete up to its length at the end of each call. */
  readonly writer = new Writer(IDLE_SIZE);
  private chunks: Buffer[] = [];
  private chunkBytes = 0;

  /** Bytes waiting. */
  get size(): number {
    return this.chunkBytes + this.writer.length;
  }

  /** Appends bytes that will not change until they were sent. */
  append(bytes: Buffer): void {
    if (bytes.length < ATTACH_SIZE_MIN) {
      this.writer.raw(bytes);
      return;
    }
    this.seal();
    this.chunks.push(bytes);
    this.chunkBytes += bytes.length;
  }

  /** All that waits, in order; the caller owns it. */
  take(): Buffer[] {
    this.seal();
    const chunks = this.chunks;
    this.chunks = [];
    this.chunkBytes = 0;
    return chunks;
  }

  private seal(): void {
    const writer = this.writer;
    if (writer.length === 0) return;
    this.chunkBytes += writer.length;
    if (writer.length <= COPY_SIZE_MAX) {
      this.chunks.push(Buffer.from(writer.view()));
      // An idle connection keeps 4 KiB.
      if (writer.buffer.length > IDLE_SIZE) writer.buffer = Buffer.allocUnsafeSlow(IDLE_SIZE);
    } else {
      this.chunks.push(writer.view());
      // What a turn wrote tells the size of the next one's buffer.
      writer.buffer = Buffer.allocUnsafeSlow(BUFFER_SIZE);
    }
    writer.clear();
  }
}
