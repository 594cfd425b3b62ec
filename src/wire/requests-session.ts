// Session layouts of plane C (§4): HELLO, AUTH, PING, CANCEL, CREDIT, requests and answers, and the
// preface. GOAWAY is in error-body.ts. The tables hold no rules of the session: see session/.
import { readU32, writeU16, writeU32 } from './bytes.ts';
import { answer, bytes, bytesUpTo, id16, layout, listOf, str, u16, u32, u64, u8 } from './layout.ts';
import type { Values } from './layout.ts';
import { PING_SIZE_MAX, PREFACE_SIZE } from './limits.ts';
import { PREFACE_MAGIC } from './ops.ts';

export type HelloRequest = Values<typeof helloRequest>;
export const helloRequest = layout({
  minor: u16,
  maxFrame: u32,
  /** 0 = the server's. */
  idleMs: u32,
  features: u64,
  /** Zeros = any. */
  clusterId: id16,
  client: str,
});

export type HelloResponse = Values<typeof helloResponse>;
export const helloResponse = answer({
  minor: u16,
  maxFrame: u32,
  idleMs: u32,
  features: u64,
  clusterId: id16,
  node: str,
  maxBatch: u32,
  maxInflight: u16,
  authRequired: u8,
  server: str,
  authMechs: listOf(str),
});

export type AuthRequest = Values<typeof authRequest>;
export const authRequest = layout({ mech: str, data: bytes });

export type AuthResponse = Values<typeof authResponse>;
export const authResponse = answer({ done: u8, data: bytes });

/** Request and answer alike. */
export type Ping = Values<typeof ping>;
export const ping = layout({ data: bytesUpTo(PING_SIZE_MAX) });

export type CancelRequest = Values<typeof cancelRequest>;
export const cancelRequest = layout({});

export type CreditRequest = Values<typeof creditRequest>;
export const creditRequest = layout({ addBytes: u32 });

export interface PrefaceRequest {
  plane: number;
  maxMajor: number;
  minMajor: number;
}

/** The client's 8 bytes (§2). */
export function encodePrefaceRequest(value: PrefaceRequest): Buffer {
  const buffer = Buffer.alloc(PREFACE_SIZE);
  writeU32(buffer, 0, PREFACE_MAGIC);
  buffer[4] = value.plane;
  buffer[5] = value.maxMajor;
  buffer[6] = value.minMajor;
  return buffer;
}

/** Reads 8 bytes; null when the magic is wrong. The reserved byte is ignored. */
export function decodePrefaceRequest(buffer: Buffer, start = 0): PrefaceRequest | null {
  if (buffer.length - start < PREFACE_SIZE || readU32(buffer, start) !== PREFACE_MAGIC) return null;
  return { plane: buffer[start + 4]!, maxMajor: buffer[start + 5]!, minMajor: buffer[start + 6]! };
}

export interface PrefaceResponse {
  plane: number;
  /** 0 = refused, `status` says why. */
  major: number;
  status: number;
}

/** The server's 8 bytes (§2). */
export function encodePrefaceResponse(value: PrefaceResponse): Buffer {
  const buffer = Buffer.alloc(PREFACE_SIZE);
  writeU32(buffer, 0, PREFACE_MAGIC);
  buffer[4] = value.plane;
  buffer[5] = value.major;
  writeU16(buffer, 6, value.status);
  return buffer;
}

/** Reads 8 bytes; null when the magic is wrong. */
export function decodePrefaceResponse(buffer: Buffer, start = 0): PrefaceResponse | null {
  if (buffer.length - start < PREFACE_SIZE || readU32(buffer, start) !== PREFACE_MAGIC) return null;
  return { plane: buffer[start + 4]!, major: buffer[start + 5]!, status: buffer.readUInt16BE(start + 6) };
}
