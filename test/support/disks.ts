// The disks that one and the same test runs on: the simulated one with either mapping backend, and
// the real one with mirror and, where this Node has node:ffi, with mmap. Real ones live in a
// temporary folder that `remove` deletes.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Disk } from '../../src/index/disk.ts';
import { loadMmap } from '../../src/segment/mmap-ffi.ts';
import { NodeDisk } from '../../src/segment/node-disk.ts';
import { SimDisk } from './sim-disk.ts';

export interface TestDisk {
  name: string;
  make(): { disk: Disk; remove(): void };
}

function nodeDisk(backend: 'mmap' | 'mirror'): TestDisk {
  return {
    name: `node disk, ${backend}`,
    make() {
      const root = mkdtempSync(join(tmpdir(), 'sidelog-disk-'));
      return { disk: new NodeDisk(root, backend), remove: () => rmSync(root, { recursive: true, force: true }) };
    },
  };
}

function simDisk(mapBackend: 'mmap' | 'mirror'): TestDisk {
  return {
    name: `simulated disk, ${mapBackend}`,
    make: () => ({ disk: new SimDisk({ mapBackend }), remove: () => {} }),
  };
}

/** All of them; says which are left out on this Node. */
export function testDisks(): TestDisk[] {
  const disks = [simDisk('mirror'), simDisk('mmap'), nodeDisk('mirror')];
  if (loadMmap() !== null) disks.push(nodeDisk('mmap'));
  else console.log(`# skipped: real mmap, node:ffi is not in Node ${process.versions.node}`);
  return disks;
}
