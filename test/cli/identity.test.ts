// node.json: made once, raised at each start, and never believed when a byte of it is wrong.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { IdentityError, openIdentity, readIdentity } from '../../src/sidecar-identity.ts';
import { replaceFile } from '../../src/segment/atomic-file.ts';
import { SimDisk } from '../support/sim-disk.ts';

const test = suite('cli/identity');
let drawn = 0;
const bytes = (size: number): Buffer => Buffer.alloc(size, ++drawn);
const open = (disk: SimDisk) => openIdentity(disk, bytes, true, () => assert.unreachable('there is room'));

async function stored(text: string): Promise<SimDisk> {
  const disk = new SimDisk();
  await replaceFile(disk, 'node.json', Buffer.from(text));
  return disk;
}

async function refusal(disk: SimDisk): Promise<string> {
  try {
    await readIdentity(disk);
    return '';
  } catch (error) {
    assert.instance(error, IdentityError);
    return (error as Error).message;
  }
}

test('the identity stays, the start counter is raised', async () => {
  const disk = new SimDisk();
  const first = await open(disk);
  assert.equal([first.startCount, first.fresh], [1, true]);
  const second = await open(disk.crash({ keep: 'none' }));
  assert.equal(second, { ...first, startCount: 2 });
});

test('no flipped bit makes it another node: it is damaged, or says the same', async () => {
  const disk = new SimDisk();
  const whole = await open(disk);
  const size = disk.contents('node.json').length;
  for (let position = 0; position < size; position++) {
    for (let bit = 0; bit < 8; bit++) {
      const copy = disk.after({ mode: 'process' });
      copy.corrupt('node.json', position, 1 << bit);
      const found = await readIdentity(copy).catch((error: unknown) => error);
      if (!(found instanceof IdentityError)) assert.equal(found, whole, `bit ${bit} of byte ${position}`);
      else assert.match(found.message, /^node\.json is damaged: put it back from a backup$/);
    }
  }
});

test('an editor may change its spaces, nothing else', async () => {
  const disk = new SimDisk();
  const whole = await open(disk);
  const text = disk.contents('node.json').toString('utf8');
  assert.equal(await readIdentity(await stored(text.replaceAll('\n', '\r\n').replaceAll('  ', '\t'))), whole);
  assert.match(await refusal(await stored(text.replace('"startCount": 1', '"startCount": 2'))), 'is damaged');
});

test('what is no identity is damaged, and what a newer version wrote says so', async () => {
  for (const text of ['', 'null', '[]', '7', '"x"', '{', '{}', '{"format":"1"}', '{"format":1}', '\0\0\0\0']) {
    assert.match(await refusal(await stored(text)), /^node\.json is damaged: put it back/, text);
  }
  assert.match(await refusal(await stored('{"format":99,"more":true}')), 'has format 99; this version reads 1: use a newer sidelog');
});

test('a file of before the checksum is taken, and gets one', async () => {
  const id = 'ab'.repeat(16);
  const disk = await stored(JSON.stringify({ format: 1, nodeId: id, clusterId: id, startCount: 4, fresh: false }));
  assert.equal(await open(disk), { nodeId: id, clusterId: id, startCount: 5, fresh: false });
  assert.match(disk.contents('node.json').toString('utf8'), /"crc32": "[0-9a-f]{8}"/);
});

test.run();
