// Cuts a stream of bytes at newlines. Bytes are not decoded, so what goes in comes out again.

const NEWLINE = 0x0a;

/** A line longer than this is refused: no server takes a batch that large. */
export const LINE_SIZE_MAX = 32 * 1024 * 1024;

/**
 * Yields the lines of each piece of the stream, without their newlines; a last line without one counts
 * too. Throws RangeError, after the lines before it, on a line longer than `sizeMax`.
 */
export async function* splitLines(source: AsyncIterable<Buffer>, sizeMax = LINE_SIZE_MAX): AsyncGenerator<Buffer[]> {
  let pieces: Buffer[] = [];
  let held = 0;
  for await (const chunk of source) {
    const lines: Buffer[] = [];
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      const tail = chunk.subarray(start, end);
      lines.push(held === 0 ? tail : Buffer.concat([...pieces, tail]));
      pieces = [];
      held = 0;
      start = end + 1;
    }
    if (lines.length > 0) yield lines;
    if (start === chunk.length) continue;
    pieces.push(chunk.subarray(start));
    held += chunk.length - start;
    if (held > sizeMax) throw new RangeError(`longer than ${sizeMax} bytes`);
  }
  if (held > 0) yield [Buffer.concat(pieces)];
}
