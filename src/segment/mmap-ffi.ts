// libc's mmap, munmap, msync and flock through node:ffi (Node 26 and later, experimental there).
// Everything that depends on the platform's numbers and on the ffi API lies in this file; without
// node:ffi, or on a platform not listed here, `loadMmap` answers null and callers keep a mirror.
//
// Invariant: the ArrayBuffer of a mapping is detached before its pages are unmapped, so that no
// live view ever points at unmapped memory.
import { constants } from 'node:os';

/** The part of node:ffi that is used; declared here because older @types/node have none of it. */
interface Ffi {
  dlopen(
    path: null,
    functions: Record<string, { arguments: string[]; return: string }>,
  ): { functions: Record<string, (...values: (number | bigint)[]) => number | bigint> };
  toArrayBuffer(address: bigint, length: number, copy: boolean): ArrayBuffer;
  getInt32(address: bigint, offset: number): number;
}

interface Platform {
  PROT_READ: number;
  PROT_WRITE: number;
  MAP_SHARED: number;
  MS_ASYNC: number;
  LOCK_EX: number;
  LOCK_NB: number;
  /** The function that answers where errno is. */
  errnoLocation: string;
  /** fdatasync stores changes made through a mapping without an msync before it. */
  syncCoversMappings: boolean;
}

// Linux uses the same values on x64 and arm64 (asm-generic); Darwin's are those of its sys/mman.h.
const LINUX: Platform = {
  PROT_READ: 1, PROT_WRITE: 2, MAP_SHARED: 1, MS_ASYNC: 1, LOCK_EX: 2, LOCK_NB: 4,
  errnoLocation: '__errno_location', syncCoversMappings: true,
};
const DARWIN: Platform = { ...LINUX, errnoLocation: '__error', syncCoversMappings: false };
const PLATFORMS: Record<string, Platform> = {
  'linux-x64': LINUX, 'linux-arm64': LINUX, 'darwin-x64': DARWIN, 'darwin-arm64': DARWIN,
};

/** MAP_FAILED is (void *) −1. */
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

/**
 * File systems (statfs f_type) that overwrite blocks where they are, so that a page with real zeros
 * behind it can always be written back: ext2–4, XFS, tmpfs. Elsewhere (copy-on-write, network,
 * overlay) a page that finds no room is SIGBUS, which ends the process; a mirror gets ENOSPC.
 */
const SAFE_FILE_SYSTEMS: ReadonlySet<number> = new Set([0xef53, 0x58465342, 0x01021994]);

/** Whether 'auto' may map files on a file system of this statfs type. */
export function mmapIsSafeOn(fileSystemType: number): boolean {
  return process.platform === 'linux' && SAFE_FILE_SYSTEMS.has(fileSystemType);
}

export class Mmap {
  readonly syncCoversMappings: boolean;
  private readonly ffi: Ffi;
  private readonly platform: Platform;
  private readonly libc: Record<string, (...values: (number | bigint)[]) => number | bigint>;

  constructor(ffi: Ffi, platform: Platform) {
    this.ffi = ffi;
    this.platform = platform;
    this.syncCoversMappings = platform.syncCoversMappings;
    // size_t and off_t are 64 bits wide on all platforms listed; addresses are passed as integers.
    this.libc = ffi.dlopen(null, {
      mmap: { arguments: ['uint64', 'uint64', 'int32', 'int32', 'int32', 'int64'], return: 'pointer' },
      munmap: { arguments: ['uint64', 'uint64'], return: 'int32' },
      msync: { arguments: ['uint64', 'uint64', 'int32'], return: 'int32' },
      flock: { arguments: ['int32', 'int32'], return: 'int32' },
      [platform.errnoLocation]: { arguments: [], return: 'pointer' },
    }).functions;
  }

  /** Maps a part of a file, shared, for reading and writing; or answers the errno code. */
  map(fd: number, position: number, length: number): { address: bigint; bytes: Uint8Array } | string {
    const { PROT_READ, PROT_WRITE, MAP_SHARED } = this.platform;
    const address = this.call('mmap', 0n, BigInt(length), PROT_READ | PROT_WRITE, MAP_SHARED, fd, BigInt(position)) as bigint;
    if (address === MAP_FAILED || address === 0n) return this.errnoCode();
    return { address, bytes: new Uint8Array(this.ffi.toArrayBuffer(address, length, false)) };
  }

  /** Unmaps; every view of the memory has length 0 afterwards. */
  unmap(address: bigint, bytes: Uint8Array): void {
    const length = bytes.length;
    structuredClone(bytes.buffer, { transfer: [bytes.buffer as ArrayBuffer] });
    this.call('munmap', address, BigInt(length));
  }

  /** Asks the kernel to begin writing the pages back, for systems whose fsync leaves them out. */
  startFlush(address: bigint, length: number): void {
    this.call('msync', address, BigInt(length), this.platform.MS_ASYNC);
  }

  /** flock(fd, LOCK_EX | LOCK_NB): '' = locked, else the errno code (EAGAIN: another has it). */
  tryLock(fd: number): string {
    return this.call('flock', fd, this.platform.LOCK_EX | this.platform.LOCK_NB) === 0 ? '' : this.errnoCode();
  }

  private call(name: string, ...values: (number | bigint)[]): number | bigint {
    return (this.libc[name] as (...values: (number | bigint)[]) => number | bigint)(...values);
  }

  private errnoCode(): string {
    const errno = this.ffi.getInt32(this.call(this.platform.errnoLocation) as bigint, 0);
    for (const [code, value] of Object.entries(constants.errno)) if (value === errno) return code;
    return 'EIO';
  }
}

let loaded: Mmap | null | undefined;

/** libc's calls, or null where this Node or platform has no way to them. */
export function loadMmap(): Mmap | null {
  if (loaded !== undefined) return loaded;
  loaded = null;
  const platform = PLATFORMS[`${process.platform}-${process.arch}`];
  if (platform === undefined) return null;
  try {
    const ffi = loadFfi();
    if (ffi !== null) loaded = new Mmap(ffi, platform);
  } catch {
    // ffi switched off (permission model, --no-experimental-ffi) or a libc without these names.
  }
  return loaded;
}

/**
 * The module without its ExperimentalWarning on the user's terminal: only this one warning, raised
 * while it loads, is held back.
 */
function loadFfi(): Ffi | null {
  const host = process as unknown as { getBuiltinModule?: (name: string) => unknown };
  const emitWarning = process.emitWarning;
  process.emitWarning = ((warning: string | Error, ...rest: unknown[]) => {
    if (rest[0] === 'ExperimentalWarning') return;
    (emitWarning as (...values: unknown[]) => void).call(process, warning, ...rest);
  }) as typeof process.emitWarning;
  try {
    return (host.getBuiltinModule?.('node:ffi') as Ffi | undefined) ?? null;
  } finally {
    process.emitWarning = emitWarning;
  }
}
