// Cuts a stream of bytes at newlines. Bytes are not decoded, so what goes in comes out again.

const NEWLINE = 0x0a;

/** A line longer than this is refused: no server takes a batch that large. */
const LINE_SIZE_MAX = 32 * 1024 * 1024;

/** Yields each line without its newline; a last line without one counts too. Throws RangeError on an endless line. */
export async function* splitLines(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let pieces: Buffer[] = [];
  let held = 0;
  for await (const chunk of source) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      const tail = chunk.subarray(start, end);
      yield held === 0 ? tail : Buffer.concat([...pieces, tail]);
      pieces = [];
      held = 0;
      start = end + 1;
    }
    if (start === chunk.length) continue;
    pieces.push(chunk.subarray(start));
    held += chunk.length - start;
    if (held > LINE_SIZE_MAX) throw new RangeError(`a line is longer than ${LINE_SIZE_MAX} bytes`);
  }
  if (held > 0) yield Buffer.concat(pieces);
}
