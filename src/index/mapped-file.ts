// A file that is used as memory: a list of 64 KiB blocks, each filled with real zeros first and then
// mapped on its own through the disk port (shared mmap, or a mirror that is written back). Blocks
// are only added. It knows nothing of what lies in them.
//
// Invariant: every mapped block has stored bytes behind it, so touching one never needs space; and
// blocks are unmapped only when the last holder let go.
import { assert } from '../wire/assert.ts';
import { DiskError, type Disk, type DiskFile, type Mapping } from './disk.ts';

/** One step of growth: at 1,000 logs with a small index each this is 64 MiB, not 11 GB. */
export const BLOCK_SIZE = 65_536;

const ZEROS = Buffer.alloc(BLOCK_SIZE);

export class MappedFile {
  readonly path: string;
  /** Blocks that the file has; they are mapped at first use. */
  blockCount: number;
  private readonly file: DiskFile;
  private readonly mappings: (Mapping | undefined)[] = [];
  private readonly views: (DataView | undefined)[] = [];
  private holders = 1;
  private growth: Promise<void> | null = null;
  private readonly closed: Promise<void>;
  private settleClosed!: { resolve: () => void; reject: (error: unknown) => void };

  private constructor(file: DiskFile, blockCount: number) {
    this.path = file.path;
    this.file = file;
    this.blockCount = blockCount;
    this.closed = new Promise((resolve, reject) => {
      this.settleClosed = { resolve, reject };
    });
    this.closed.catch(() => {}); // whoever calls close() gets it
  }

  /** Makes an empty file in place of one that may be there. Throws DiskError. */
  static async create(disk: Disk, path: string): Promise<MappedFile> {
    try {
      return new MappedFile(await disk.open(path, 'create'), 0);
    } catch (error) {
      if (!(error instanceof DiskError) || error.code !== 'EEXIST') throw error;
    }
    await disk.unlink(path);
    return new MappedFile(await disk.open(path, 'create'), 0);
  }

  /** Opens the first `blockCount` blocks of a file; null when it is missing or shorter. Throws DiskError. */
  static async open(disk: Disk, path: string, blockCount: number): Promise<MappedFile | null> {
    let file: DiskFile;
    try {
      file = await disk.open(path, 'write');
    } catch (error) {
      if (error instanceof DiskError && error.code === 'ENOENT') return null;
      throw error;
    }
    if ((await file.size()) >= blockCount * BLOCK_SIZE) return new MappedFile(file, blockCount);
    await file.close();
    return null;
  }

  /** Block `number` as memory, valid until the last release. Throws DiskError when it cannot be mapped. */
  view(number: number): DataView {
    return this.views[number] ?? this.map(number);
  }

  isMapped(number: number): boolean {
    return this.views[number] !== undefined;
  }

  /** The same block as bytes. */
  bytes(number: number): Buffer {
    const view = this.view(number);
    return Buffer.from(view.buffer, view.byteOffset, view.byteLength);
  }

  /** Adds a block of zeros; one at a time. Throws DiskError (ENOSPC here, instead of SIGBUS later). */
  grow(): Promise<void> {
    assert(this.growth === null, 'a mapped file grows one block at a time');
    this.growth = this.addBlock().finally(() => {
      this.growth = null;
    });
    return this.growth;
  }

  /** Brings the bytes [start, end) of a block into the page cache, where the block is a mirror. */
  flush(number: number, start = 0, end = BLOCK_SIZE): void {
    this.mappings[number]?.flush(start, end);
  }

  /** Makes what was flushed durable. Throws DiskError. */
  sync(): Promise<void> {
    return this.file.sync();
  }

  /** Keeps the blocks mapped until the matching release. */
  retain(): void {
    assert(this.holders > 0, 'retained after the last release');
    this.holders++;
  }

  release(): void {
    assert(this.holders > 0, 'released more often than retained');
    this.holders--;
    if (this.holders > 0) return;
    for (const mapping of this.mappings) mapping?.unmap();
    this.mappings.length = 0;
    this.views.length = 0;
    this.file.close().then(this.settleClosed.resolve, this.settleClosed.reject);
  }

  /** Lets go of the maker's own hold; resolves when all others have let go too and the file is closed. */
  close(): Promise<void> {
    this.release();
    return this.closed;
  }

  private async addBlock(): Promise<void> {
    await this.file.write(ZEROS, 0, BLOCK_SIZE, this.blockCount * BLOCK_SIZE);
    this.blockCount++;
  }

  private map(number: number): DataView {
    assert(this.holders > 0, 'mapped after the last release');
    assert(number >= 0 && number < this.blockCount, 'no such block');
    const mapping = this.file.map(number * BLOCK_SIZE, BLOCK_SIZE);
    const { buffer, byteOffset } = mapping.bytes;
    const view = new DataView(buffer, byteOffset, BLOCK_SIZE);
    this.mappings[number] = mapping;
    this.views[number] = view;
    return view;
  }
}
