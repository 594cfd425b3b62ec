// Compression of batch bodies with node:zlib, in its thread pool. zstd where this Node has it
// (22.15, 23.8 and later). Decompression never makes more bytes than the batch says (a small body
// could otherwise fill the memory).
import * as zlib from 'node:zlib';
import { ErrorCode, ProtocolError } from '../errors.ts';
import { Compression } from '../ops.ts';
import type { CompressionName } from './types.ts';

const NAMES: readonly CompressionName[] = ['none', 'gzip', 'zstd'];

/** Attribute bits of a name. */
export function compressionCode(name: CompressionName): number {
  const code = NAMES.indexOf(name);
  if (code < 0) throw new TypeError(`compression "${name}" is not accepted; expected none, gzip or zstd`);
  if (code === Compression.ZSTD && !hasZstd()) throw unsupported(code);
  return code;
}

/** Mask of compressions from names (bit n = compression n), for log settings. */
export function compressionMask(names: readonly CompressionName[]): number {
  return names.reduce((mask, name) => mask | (1 << NAMES.indexOf(name)), 0);
}

export function compressionNames(mask: number): CompressionName[] {
  return NAMES.filter((_, code) => (mask & (1 << code)) !== 0);
}

export function hasZstd(): boolean {
  return typeof zlib.zstdCompress === 'function';
}

/** Compresses the records of a batch. */
export function compress(code: number, records: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, packed: Buffer): void => (error === null ? resolve(packed) : reject(error));
    if (code === Compression.GZIP) zlib.gzip(records, done);
    else if (code === Compression.ZSTD && hasZstd()) zlib.zstdCompress(records, done);
    else reject(unsupported(code));
  });
}

/**
 * Decompresses the records of a batch. Rejects with UNSUPPORTED_COMPRESSION, or with CORRUPT_BATCH when
 * they are broken or not exactly `rawLen` bytes.
 */
export function decompress(code: number, packed: Buffer, rawLen: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, records: Buffer): void => {
      if (error === null && records.length === rawLen) return resolve(records);
      const message = error === null ? `${records.length} bytes came out instead of ${rawLen}` : error.message;
      reject(new ProtocolError(ErrorCode.CORRUPT_BATCH, { message, cause: error ?? undefined }));
    };
    // zlib wants a limit of at least 1.
    const options = { maxOutputLength: Math.max(1, rawLen) };
    if (code === Compression.GZIP) zlib.gunzip(packed, options, done);
    else if (code === Compression.ZSTD && hasZstd()) zlib.zstdDecompress(packed, options, done);
    else reject(unsupported(code));
  });
}

function unsupported(code: number): ProtocolError {
  const message = `compression ${NAMES[code] ?? code} is not known to Node ${process.version}`;
  return new ProtocolError(ErrorCode.UNSUPPORTED_COMPRESSION, { message, supported: hasZstd() ? 7 : 3 });
}
