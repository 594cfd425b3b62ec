// CRC-32 (IEEE 802.3, as in zlib) of a range. Short ranges are computed here, 16 bytes per step
// with tables ("slicing by 16"): a call into zlib needs a view of the range and costs 200–280 ns
// however short it is, against 50–90 ns for the 64 bytes under a header_crc (measured, Node 20 and
// 26). From 256 bytes on zlib is as fast, from 1 KiB twice as fast, and then it is used.
import { crc32 as zlibCrc32 } from 'node:zlib';

/** Bytes from which the native implementation wins (measured: about equal at 256). */
const NATIVE_SIZE_MIN = 288;
const POLYNOMIAL = 0xedb8_8320;

const TABLE = /* @__PURE__ */ makeTables();

/** CRC-32 of buffer[start, end), as a u32. */
export function crc32(buffer: Buffer, start: number, end: number): number {
  return end - start < NATIVE_SIZE_MIN ? crc32Short(buffer, start, end) : zlibCrc32(buffer.subarray(start, end));
}

function crc32Short(b: Buffer, at: number, end: number): number {
  let crc = -1;
  for (; at + 16 <= end; at += 16) {
    const x = crc ^ (b[at]! | (b[at + 1]! << 8) | (b[at + 2]! << 16) | (b[at + 3]! << 24));
    crc =
      TABLE[3840 | (x & 255)]! ^
      TABLE[3584 | ((x >>> 8) & 255)]! ^
      TABLE[3328 | ((x >>> 16) & 255)]! ^
      TABLE[3072 | (x >>> 24)]! ^
      TABLE[2816 | b[at + 4]!]! ^
      TABLE[2560 | b[at + 5]!]! ^
      TABLE[2304 | b[at + 6]!]! ^
      TABLE[2048 | b[at + 7]!]! ^
      TABLE[1792 | b[at + 8]!]! ^
      TABLE[1536 | b[at + 9]!]! ^
      TABLE[1280 | b[at + 10]!]! ^
      TABLE[1024 | b[at + 11]!]! ^
      TABLE[768 | b[at + 12]!]! ^
      TABLE[512 | b[at + 13]!]! ^
      TABLE[256 | b[at + 14]!]! ^
      TABLE[b[at + 15]!]!;
  }
  for (; at < end; at++) crc = TABLE[(crc ^ b[at]!) & 255]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Row k of 16 advances a byte over k zero bytes more than the row before. */
function makeTables(): Int32Array {
  const table = new Int32Array(16 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    table[byte] = crc;
  }
  for (let row = 1; row < 16; row++) {
    for (let byte = 0; byte < 256; byte++) {
      const before = table[(row - 1) * 256 + byte]!;
      table[row * 256 + byte] = (before >>> 8) ^ table[before & 255]!;
    }
  }
  return table;
}
