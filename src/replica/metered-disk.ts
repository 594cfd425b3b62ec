// A disk that counts: how long syncs take and how many bytes go each way, for metrics. It changes
// nothing and keeps nothing else.
import type { Disk, DiskFile, Mapping } from '../index/disk.ts';
import type { Clock } from './clock.ts';
import type { Counters } from './counters.ts';

export class MeteredDisk implements Disk {
  readonly mapBackend: 'mmap' | 'mirror';
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #counters: Counters;

  constructor(disk: Disk, clock: Clock, counters: Counters) {
    this.mapBackend = disk.mapBackend;
    this.#disk = disk;
    this.#clock = clock;
    this.#counters = counters;
  }

  async open(path: string, mode: 'read' | 'write' | 'create'): Promise<DiskFile> {
    return new MeteredFile(await this.#disk.open(path, mode), this.#clock, this.#counters);
  }

  list(path: string): Promise<string[]> {
    return this.#disk.list(path);
  }

  exists(path: string): Promise<boolean> {
    return this.#disk.exists(path);
  }

  makeDirectory(path: string): Promise<void> {
    return this.#disk.makeDirectory(path);
  }

  rename(from: string, to: string): Promise<void> {
    return this.#disk.rename(from, to);
  }

  unlink(path: string): Promise<void> {
    return this.#disk.unlink(path);
  }

  removeTree(path: string): Promise<void> {
    return this.#disk.removeTree(path);
  }

  syncDirectory(path: string): Promise<void> {
    return this.#disk.syncDirectory(path);
  }

  space(): Promise<{ freeBytes: number; totalBytes: number }> {
    return this.#disk.space();
  }
}

class MeteredFile implements DiskFile {
  readonly path: string;
  readonly #file: DiskFile;
  readonly #clock: Clock;
  readonly #counters: Counters;

  constructor(file: DiskFile, clock: Clock, counters: Counters) {
    this.path = file.path;
    this.#file = file;
    this.#clock = clock;
    this.#counters = counters;
  }

  read(target: Buffer, offset: number, length: number, position: number): Promise<number> {
    this.#counters.diskBytesRead += length;
    return this.#file.read(target, offset, length, position);
  }

  write(source: Buffer, offset: number, length: number, position: number): Promise<void> {
    this.#counters.diskBytesWritten += length;
    return this.#file.write(source, offset, length, position);
  }

  writeNow(source: Buffer, offset: number, length: number, position: number): void {
    this.#file.writeNow(source, offset, length, position);
  }

  async sync(): Promise<void> {
    const began = this.#clock.monotonicMs();
    await this.#file.sync();
    this.#counters.syncLatency.observe(this.#clock.monotonicMs() - began, 1);
  }

  truncate(size: number): Promise<void> {
    return this.#file.truncate(size);
  }

  size(): Promise<number> {
    return this.#file.size();
  }

  map(position: number, length: number): Mapping {
    return this.#file.map(position, length);
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
