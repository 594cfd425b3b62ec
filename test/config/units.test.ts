// Human forms of sizes, durations, addresses and times.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatAddress, formatSize, isLoopback, parseAddress, parseDuration, parseSize, parseTime } from '../../src/units.ts';

const test = suite('units');

test('sizes come with and without unit, in powers of 1024 and of 1000', () => {
  const sizes: [string, number][] = [
    ['0', 0], ['4096', 4096], ['64KiB', 65_536], ['64k', 65_536], ['64 kib', 65_536], ['1kB', 1000], ['1.5MiB', 1_572_864],
    ['2MB', 2_000_000], ['1GiB', 1024 ** 3], ['1g', 1024 ** 3], ['3TiB', 3 * 1024 ** 4], ['10B', 10],
  ];
  for (const [text, bytes] of sizes) assert.is(parseSize(text), bytes, text);
  for (const text of ['', 'MiB', '1 MiBs', '-1', '1e3', '0x10', '9999999TiB']) assert.throws(() => parseSize(text), /a size/, text);
});

test('durations come with and without unit', () => {
  const durations: [string, number][] = [['0', 0], ['250', 250], ['500ms', 500], ['1.5s', 1500], ['2m', 120_000], ['1h', 3_600_000], ['7d', 604_800_000]];
  for (const [text, ms] of durations) assert.is(parseDuration(text), ms, text);
  for (const text of ['', 's', '1w', '-1s', '1 hour']) assert.throws(() => parseDuration(text), /a duration/, text);
});

test('addresses are host and port, IPv6 in brackets', () => {
  const addresses: [string, string, number, string][] = [
    ['127.0.0.1:8400', '127.0.0.1', 8400, '127.0.0.1:8400'],
    ['localhost:0', 'localhost', 0, 'localhost:0'],
    [':8400', '127.0.0.1', 8400, '127.0.0.1:8400'],
    ['8400', '127.0.0.1', 8400, '127.0.0.1:8400'],
    ['[::1]:8400', '::1', 8400, '[::1]:8400'],
  ];
  for (const [text, host, port, formatted] of addresses) {
    assert.equal(parseAddress(text), { host, port });
    assert.is(formatAddress(parseAddress(text)), formatted);
  }
  for (const text of ['', 'host', 'host:', 'host:65536', '::1:8400', '[::1]', 'a:b:1']) assert.throws(() => parseAddress(text), /HOST:PORT/, text);
});

test('loopback is 127.0.0.0/8 also mapped into IPv6, ::1 and localhost, and nothing that looks like it', () => {
  for (const host of ['127.0.0.1', '127.255.0.3', '::1', '::ffff:127.0.0.1', '::FFFF:127.0.0.1', 'localhost', 'LocalHost']) assert.ok(isLoopback(host), host);
  for (const host of ['', '0.0.0.0', '::', '128.0.0.1', '1127.0.0.1', '127.0.0.1.example', 'localhost.example', '::ffff:10.0.0.1', '10.127.0.1', '::2']) {
    assert.not.ok(isLoopback(host), host);
  }
});

test('times are ISO 8601', () => {
  assert.is(parseTime('2026-01-31T12:00:00Z'), 1_769_860_800_000);
  assert.is(parseTime('2026-01-31'), 1_769_817_600_000);
  for (const text of ['now', '31.1.2026', '2026-13-01', '1960-01-01', '1700000000000']) assert.throws(() => parseTime(text), /an ISO 8601 time/, text);
});

test('sizes are shown with the unit that keeps them short', () => {
  const shown = [0, 1023, 1024, 10_240, 1_048_576, 5 * 1024 ** 3, 2000 * 1024 ** 4].map(formatSize);
  assert.equal(shown, ['0 B', '1023 B', '1.0 KiB', '10 KiB', '1.0 MiB', '5.0 GiB', '2000 TiB']);
});

test.run();
