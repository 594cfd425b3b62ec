import { spawnSync } from 'node:child_process';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Watchdog } from './watchdog.ts';

const test = suite('sim/watchdog');

/** Run as a child with this argument the file is what stands still, or does not. */
const [, self, role] = process.argv;

if (role === 'endless') {
  new Watchdog(500).watch('seed 7 stands still', () => 1);
  // The thread must hear what it is about, as it does before a world's first event.
  setTimeout(() => {
    for (;;);
  }, 50);
} else if (role === 'busy') {
  const dog = new Watchdog(500);
  dog.watch('seed 7 stands still', () => performance.now());
  setTimeout(() => void dog.end(), 1500);
} else {
  test('what stands still is named, and ended', () => {
    const { signal, stderr } = spawnSync(process.execPath, [self!, 'endless'], { encoding: 'utf8' });
    assert.is(signal, 'SIGKILL');
    assert.match(stderr, /^seed 7 stands still\n0 passed, 1 failed$/m);
  });

  test('what goes on is let alone', () => {
    const { status, stderr } = spawnSync(process.execPath, [self!, 'busy'], { encoding: 'utf8' });
    assert.is(status, 0);
    assert.is(stderr, '');
  });

  test.run();
}
