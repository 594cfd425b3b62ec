// What only the real disk can get wrong: short writes and reads, error codes, which sync is called,
// the choice of the backend, and what a user sees of node:ffi.
import { spawnSync } from 'node:child_process';
import fs, { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DiskError } from '../../src/index/disk.ts';
import { readWholeFile, replaceFile } from '../../src/segment/atomic-file.ts';
import { loadMmap, mmapIsSafeOn } from '../../src/segment/mmap-ffi.ts';
import { NodeDisk } from '../../src/segment/node-disk.ts';
import { SimDisk } from '../support/sim-disk.ts';

const CHILD_VARIABLE = 'SIDELOG_FFI_TEST_CHILD';
if (process.env[CHILD_VARIABLE] === undefined) parent();
else console.log(loadMmap() === null ? 'mirror' : 'mmap');

/** Replaces functions of node:fs while `run` runs. */
async function patched(functions: Record<string, unknown>, run: () => Promise<void>): Promise<void> {
  const originals: Record<string, unknown> = {};
  const target = fs as unknown as Record<string, unknown>;
  for (const [name, value] of Object.entries(functions)) {
    originals[name] = target[name];
    target[name] = value;
  }
  syncBuiltinESMExports();
  try {
    await run();
  } finally {
    Object.assign(target, originals);
    syncBuiltinESMExports();
  }
}

function parent(): void {
  const test = suite<{ root: string; disk: NodeDisk }>('node disk');
  test.before.each((context) => {
    context.root = mkdtempSync(join(tmpdir(), 'sidelog-node-disk-'));
    context.disk = new NodeDisk(context.root);
  });
  test.after.each(({ root }) => rmSync(root, { recursive: true, force: true }));

  test('goes on after short writes and reads', async ({ disk }) => {
    const { write, read, writeSync } = fs;
    const short = {
      write: (fd: number, b: Buffer, o: number, l: number, p: number, done: () => void) => write(fd, b, o, Math.min(l, 1000), p, done),
      read: (fd: number, b: Buffer, o: number, l: number, p: number, done: () => void) => read(fd, b, o, Math.min(l, 700), p, done),
      writeSync: (fd: number, b: Buffer, o: number, l: number, p: number) => writeSync(fd, b, o, Math.min(l, 300), p),
    };
    await patched(short, async () => {
      const file = await disk.open('a', 'create');
      const bytes = Buffer.from(Array.from({ length: 5000 }, (_, i) => i % 251));
      await file.write(bytes, 10, 4500, 100);
      const back = Buffer.alloc(5000);
      assert.is(await file.read(back, 0, 5000, 100), 4500);
      assert.ok(back.subarray(0, 4500).equals(bytes.subarray(10, 4510)));
      file.writeNow(bytes, 0, 1000, 0);
      await file.read(back, 0, 1000, 0);
      assert.ok(back.subarray(0, 1000).equals(bytes.subarray(0, 1000)));
      await file.close();
    });
  });

  test('errors carry the errno code, the path below the data directory, and their cause', async ({ disk }) => {
    const file = await disk.open('a', 'create');
    const fail = (...values: unknown[]): void => {
      const done = values.at(-1) as (error: Error) => void;
      setImmediate(() => done(Object.assign(new Error('no'), { code: 'ENOSPC' })));
    };
    const failSync = (): never => {
      throw Object.assign(new Error('no'), { code: 'EDQUOT' });
    };
    await patched({ write: fail, fdatasync: fail, ftruncate: fail, writeSync: failSync }, async () => {
      for (const call of [() => file.write(Buffer.alloc(1), 0, 1, 0), () => file.sync(), () => file.truncate(0)]) {
        const error = await call().then(() => null, (reason) => reason);
        assert.instance(error, DiskError);
        assert.equal([error.code, error.path, error.cause.message], ['ENOSPC', 'a', 'no']);
      }
      assert.throws(() => file.writeNow(Buffer.alloc(1), 0, 1, 0), (error: unknown) => error instanceof DiskError && error.code === 'EDQUOT');
    });
    await file.close();
  });

  test('a size that changed is stored by a full fsync', async ({ disk }) => {
    const calls: string[] = [];
    const { fsync, fdatasync } = fs;
    const spy = {
      fsync: (fd: number, done: () => void) => (calls.push('fsync'), fsync(fd, done)),
      fdatasync: (fd: number, done: () => void) => (calls.push('fdatasync'), fdatasync(fd, done)),
    };
    await patched(spy, async () => {
      const file = await disk.open('a', 'create');
      await file.sync();
      await file.truncate(0);
      await file.sync();
      await file.sync();
      await file.close();
    });
    assert.equal(calls, ['fdatasync', 'fsync', 'fdatasync']);
  });

  test('a descriptor is closed only after the calls on it', async ({ disk }) => {
    const order: string[] = [];
    const { write, close } = fs;
    const slow = {
      write: (fd: number, b: Buffer, o: number, l: number, p: number, done: (...values: unknown[]) => void) => {
        write(fd, b, o, l, p, (...values) => setTimeout(() => (order.push('write'), done(...values)), 5));
      },
      close: (fd: number, done: () => void) => (order.push('close'), close(fd, done)),
    };
    await patched(slow, async () => {
      const file = await disk.open('a', 'create');
      const writing = file.write(Buffer.from('x'), 0, 1, 0);
      await file.close();
      await writing;
    });
    assert.equal(order, ['write', 'close']);
  });

  test('a part that cannot be read is an error of map, with either backend', async ({ root }) => {
    for (const backend of loadMmap() === null ? (['mirror'] as const) : (['mirror', 'mmap'] as const)) {
      const file = await new NodeDisk(root, backend).open(backend, 'create');
      await file.write(Buffer.alloc(65536), 0, 65536, 0);
      const fail = (): never => {
        throw Object.assign(new Error('no'), { code: 'EIO' });
      };
      await patched({ readSync: fail }, async () => {
        assert.throws(() => file.map(0, 65536), (error: unknown) => error instanceof DiskError && error.code === 'EIO');
      });
      await file.close();
    }
  });

  test('files belong to the account alone, and the root may be a symbolic link', async ({ disk, root }) => {
    await disk.makeDirectory('logs');
    await (await disk.open('logs/a', 'create')).close();
    assert.is(statSync(join(root, 'logs')).mode & 0o777, 0o700);
    assert.is(statSync(join(root, 'logs/a')).mode & 0o777, 0o600);
    mkdirSync(join(root, 'elsewhere'));
    symlinkSync(join(root, 'elsewhere'), join(root, 'link'));
    const linked = new NodeDisk(join(root, 'link'));
    await (await linked.open('b', 'create')).close();
    assert.ok(existsSync(join(root, 'elsewhere/b')));
  });

  test('auto takes mmap only where overwritten blocks stay in place', ({ root }) => {
    const EXT4 = 0xef53;
    const BTRFS = 0x9123683e;
    assert.is(mmapIsSafeOn(BTRFS), false);
    assert.is(mmapIsSafeOn(EXT4), process.platform === 'linux');
    const expected = loadMmap() !== null && mmapIsSafeOn(fs.statfsSync(root).type) ? 'mmap' : 'mirror';
    assert.is(new NodeDisk(root, 'auto').mapBackend, expected);
    assert.is(new NodeDisk(root, 'mirror').mapBackend, 'mirror');
    if (loadMmap() === null) assert.throws(() => new NodeDisk(root, 'mmap'), /no node:ffi/);
    else assert.is(new NodeDisk(root, 'mmap').mapBackend, 'mmap');
  });

  test('loading ffi prints nothing', () => {
    const path = fileURLToPath(import.meta.url);
    const child = spawnSync(process.execPath, [path], { env: { ...process.env, [CHILD_VARIABLE]: '1' }, encoding: 'utf8' });
    assert.is(child.stderr, '');
    assert.is(child.stdout.trim(), loadMmap() === null ? 'mirror' : 'mmap');
  });

  if (loadMmap() === null) {
    console.log(`# skipped: mmap errors and reuse, node:ffi is not in Node ${process.versions.node}`);
  } else {
    test('mmap says why it failed, and maps the same place again and again', async ({ root }) => {
      const libc = loadMmap();
      assert.is(libc?.map(9999, 0, 65536), 'EBADF');
      const disk = new NodeDisk(root, 'mmap');
      const file = await disk.open('a', 'create');
      await file.write(Buffer.alloc(65536), 0, 65536, 0);
      const views: Uint8Array[] = [];
      for (let i = 0; i < 2000; i++) {
        const mapping = file.map(0, 65536);
        mapping.bytes[i] = i;
        views.push(mapping.bytes);
        mapping.unmap();
      }
      assert.ok(views.every((view) => view.length === 0));
      const back = Buffer.alloc(65536);
      await file.read(back, 0, 65536, 0);
      for (let i = 0; i < 2000; i++) assert.is(back[i], i % 256);
      await file.close();
    });
  }

  test('replaceFile leaves the old or the new content after a crash at any step, and the new when it resolved', async () => {
    for (let step = 1, done = false; !done; step++) {
      const disk = new SimDisk();
      await disk.makeDirectory('x');
      await disk.syncDirectory('');
      await replaceFile(disk, 'x/f', Buffer.alloc(2000, 1));
      const halted = disk.haltAt(disk.operationCount + step);
      await Promise.race([halted, replaceFile(disk, 'x/f', Buffer.alloc(3000, 2)).then(() => (done = true))]);
      for (let i = 0; i < 50; i++) {
        const left = disk.after();
        const bytes = await readWholeFile(left, 'x/f', 10_000);
        const isNew = bytes.length === 3000 && bytes.every((byte) => byte === 2);
        assert.ok(isNew || (bytes.length === 2000 && bytes.every((byte) => byte === 1)), `step ${step}`);
        if (done) assert.ok(isNew);
        await replaceFile(left, 'x/f', Buffer.from('again'));
        assert.equal(await left.list('x'), ['f']);
      }
    }
  });

  test('replaceFile leaves nothing behind when the disk is full', async () => {
    const disk = new SimDisk({ totalBytes: 4096 });
    await replaceFile(disk, 'f', Buffer.alloc(2000, 1));
    const error = await replaceFile(disk, 'f', Buffer.alloc(3000, 2)).then(() => null, (reason) => reason);
    assert.is(error.code, 'ENOSPC');
    assert.equal(await disk.list(''), ['f']);
    assert.is((await readWholeFile(disk, 'f', 4096)).length, 2000);
    const large = await readWholeFile(disk, 'f', 100).then(() => null, (reason) => reason);
    assert.is(large.code, 'EFBIG');
  });

  test('replaceFile works on the real disk', async ({ disk, root }) => {
    await replaceFile(disk, 'f', Buffer.from('one'));
    await replaceFile(disk, 'f', Buffer.from('two'));
    assert.is((await readWholeFile(disk, 'f', 10)).toString(), 'two');
    assert.equal(readdirSync(root), ['f']);
  });

  test.run();
}
