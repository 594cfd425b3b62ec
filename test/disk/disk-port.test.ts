// One set of claims about the disk port, held against every disk there is: what the simulator
// runs on must behave like what ships.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DiskError, type Disk } from '../../src/index/disk.ts';
import { InvariantError } from '../../src/wire/assert.ts';
import { testDisks } from '../support/disks.ts';

for (const kind of testDisks()) {
  const test = suite<{ disk: Disk; remove(): void }>(`disk port: ${kind.name}`);
  test.before.each((context) => {
    Object.assign(context, kind.make());
  });
  test.after.each((context) => context.remove());

  test('reads back what was written, at any position', async ({ disk }) => {
    const file = await disk.open('a', 'create');
    await file.write(Buffer.from('..hello..'), 2, 5, 700);
    assert.is(await file.size(), 705);
    const target = Buffer.alloc(10, 0x2e);
    assert.is(await file.read(target, 1, 9, 698), 7);
    assert.equal(target.toString('latin1'), '.\0\0hello..');
    assert.is(await file.read(target, 0, 1, 705), 0);
    file.writeNow(Buffer.from('J'), 0, 1, 700);
    await file.read(target, 0, 5, 700);
    assert.is(target.toString('latin1', 0, 5), 'Jello');
    await file.sync();
    await file.close();
  });

  test('refuses to create what is there and to open what is not', async ({ disk }) => {
    await (await disk.open('a', 'create')).close();
    await refused(disk.open('a', 'create'), 'EEXIST');
    await refused(disk.open('b', 'write'), 'ENOENT');
    await refused(disk.open('b', 'read'), 'ENOENT');
    await refused(disk.open('folder/b', 'create'), 'ENOENT');
    await refused(disk.list('folder'), 'ENOENT');
    await refused(disk.makeDirectory('x/y'), 'ENOENT');
    await refused(disk.unlink('b'), 'ENOENT');
    await refused(disk.rename('b', 'c'), 'ENOENT');
    await refused(disk.syncDirectory('folder'), 'ENOENT');
    await disk.makeDirectory('folder');
    await refused(disk.makeDirectory('folder'), 'EEXIST');
  });

  test('lists names in order, renames over a file, removes trees', async ({ disk }) => {
    await disk.makeDirectory('logs');
    await disk.makeDirectory('logs/x');
    for (const name of ['logs/x/c', 'logs/x/a', 'logs/x/b']) {
      const file = await disk.open(name, 'create');
      await file.write(Buffer.from(name), 0, name.length, 0);
      await file.close();
    }
    assert.equal(await disk.list('logs/x'), ['a', 'b', 'c']);
    await disk.rename('logs/x/c', 'logs/x/a');
    assert.equal(await disk.list('logs/x'), ['a', 'b']);
    const file = await disk.open('logs/x/a', 'read');
    const text = Buffer.alloc(8);
    await file.read(text, 0, 8, 0);
    assert.is(text.toString(), 'logs/x/c');
    await file.close();
    await disk.makeDirectory('trash');
    await disk.rename('logs/x', 'trash/x');
    await disk.syncDirectory('logs');
    await disk.syncDirectory('trash');
    await disk.syncDirectory('');
    assert.is(await disk.exists('logs/x'), false);
    assert.is(await disk.exists('logs/x/a/b'), false);
    assert.is(await disk.exists('trash/x/a'), true);
    await disk.unlink('trash/x/a');
    await disk.removeTree('trash');
    await disk.removeTree('trash');
    assert.equal(await disk.list(''), ['logs']);
  });

  test('truncates and shows zeros where a file grows again', async ({ disk }) => {
    const file = await disk.open('a', 'create');
    await file.write(Buffer.alloc(2000, 7), 0, 2000, 0);
    await file.truncate(100);
    assert.is(await file.size(), 100);
    await file.sync();
    await file.truncate(1500);
    const bytes = Buffer.alloc(2000);
    assert.is(await file.read(bytes, 0, 2000, 0), 1500);
    assert.is(bytes[99], 7);
    assert.ok(bytes.subarray(100, 1500).every((byte) => byte === 0));
    await file.close();
  });

  test('a mapping reaches the file with flush, and is gone after unmap', async ({ disk }) => {
    const file = await disk.open('a', 'create');
    await file.write(Buffer.alloc(131072, 1), 0, 131072, 0);
    const mapping = file.map(65536, 65536);
    const view = mapping.bytes;
    assert.is(view[10], 1);
    view[10] = 200;
    mapping.flush(0, 65536);
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, 65546);
    assert.is(byte[0], 200);
    assert.throws(() => file.close(), (error: unknown) => error instanceof InvariantError);
    assert.throws(() => file.map(131072, 65536), (error: unknown) => error instanceof InvariantError);
    await Promise.resolve()
      .then(() => file.truncate(65536))
      .then(() => assert.unreachable('truncated under a mapping'), (error) => assert.instance(error, InvariantError));
    mapping.unmap();
    assert.is(mapping.bytes.length, 0);
    if (disk.mapBackend === 'mmap') assert.is(view.length, 0, 'views of unmapped memory are detached');
    await file.close();
  });

  test('waits with closing for calls under way, and takes none afterwards', async ({ disk }) => {
    const file = await disk.open('a', 'create');
    const bytes = Buffer.alloc(100_000, 3);
    const order: string[] = [];
    const write = file.write(bytes, 0, bytes.length, 0).then(() => order.push('write'));
    const close = file.close().then(() => order.push('close'));
    await Promise.all([write, close]);
    assert.equal(order, ['write', 'close']);
    assert.throws(() => file.writeNow(bytes, 0, 1, 0), (error: unknown) => error instanceof InvariantError);
  });

  test('asserts paths that could leave the data directory', async ({ disk }) => {
    for (const path of ['..', 'a/../b', '/etc', 'a//b', './a', 'a\0b', 'a/']) {
      await Promise.resolve()
        .then(() => disk.open(path, 'read'))
        .then(() => assert.unreachable(path), (error) => assert.instance(error, InvariantError));
    }
  });

  test('says how much space there is', async ({ disk }) => {
    const { freeBytes, totalBytes } = await disk.space();
    assert.ok(freeBytes > 0);
    assert.ok(totalBytes >= freeBytes);
  });

  test.run();
}

async function refused(call: Promise<unknown>, code: string): Promise<void> {
  try {
    await call;
  } catch (error) {
    assert.instance(error, DiskError);
    assert.is((error as DiskError).code, code);
    return;
  }
  assert.unreachable(`expected ${code}`);
}
