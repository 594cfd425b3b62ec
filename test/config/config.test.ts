// Settings: one table makes flags, variables, file keys, help and errors. Every setting is tried from
// every source, and every wrong one must name itself, the value and what is accepted.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { accepted, environmentName, flagName, loadSettings, SETTINGS, settingOptions, SettingError, unknownVariables } from '../../src/config.ts';
import type { Settings } from '../../src/config.ts';
import { threadPoolSize } from '../../src/sidecar-checks.ts';
import { temporaryFolder } from '../support/sidecar.ts';

const test = suite('config');

/** Of each kind: texts that are taken, with what they mean, and texts that are not. */
const SAMPLES: Record<string, { good: [string, unknown][]; bad: string[] }> = {
  text: { good: [['some-name', 'some-name']], bad: ['with space', 'x'.repeat(201), 'ümlaut'] },
  path: { good: [['/some/where', '/some/where']], bad: [] },
  flag: { good: [['true', true], ['0', false]], bad: ['yes', 'TRUE'] },
  size: { good: [['1MiB', 1024 ** 2], ['2097152', 2 * 1024 ** 2]], bad: ['many', '-1', '1.5.5', '5 elephants'] },
  duration: { good: [['9s', 9000], ['8000', 8000]], bad: ['soon', '-1s', '1y'] },
  count: { good: [['1', 1]], bad: ['1.5', '-1', 'one', '1e3'] },
  address: {
    good: [['127.0.0.1:9', { host: '127.0.0.1', port: 9 }], ['[::1]:9', { host: '::1', port: 9 }], [':9', { host: '127.0.0.1', port: 9 }]],
    bad: ['localhost', '1.2.3.4:99999', '::1:9', 'a:b'],
  },
  choice: { good: [], bad: ['other'] },
  list: { good: [['a, b', ['a', 'b']], ['c', ['c']]], bad: [] },
};

/** What must be set as well, so that the rules between settings are content. */
const COMPANIONS: Partial<Record<keyof Settings, Record<string, string>>> = {
  tlsCert: { 'tls-key': 'k' },
  tlsKey: { 'tls-cert': 'c' },
  maxBatch: { 'max-frame': '64MiB' },
  maxFrame: { 'max-batch': '64KiB' },
};
/** For bounds that the samples of their kind do not meet. */
const WITHIN: Partial<Record<keyof Settings, [string, unknown][]>> = {
  memoryLimit: [['9MiB', 9 * 1024 ** 2]],
};

function goodFor(setting: (typeof SETTINGS)[number]): [string, unknown][] {
  if (setting.kind === 'choice') return setting.choices!.map((choice): [string, unknown] => [choice, choice]);
  return WITHIN[setting.key] ?? SAMPLES[setting.kind]!.good;
}

/** As parseArgs hands it over. */
function asFlag(kind: string, text: string, value: unknown): unknown {
  return kind === 'flag' || kind === 'list' ? value : text;
}

test('every setting is taken from a flag, from a variable and from the file', () => {
  for (const setting of SETTINGS) {
    const companions = COMPANIONS[setting.key] ?? {};
    for (const [text, value] of goodFor(setting)) {
      const flags = { ...companions, [flagName(setting.key)]: asFlag(setting.kind, text, value) };
      assert.equal(loadSettings(flags, {})[setting.key], value, `--${flagName(setting.key)} ${text}`);
      assert.equal(loadSettings(companions, { [environmentName(setting.key)]: text })[setting.key], value, environmentName(setting.key));
      const file = join(temporaryFolder(), 'config.json');
      for (const written of [text, setting.kind === 'address' ? text : value]) {
        writeFileSync(file, JSON.stringify({ [setting.key]: written }));
        assert.equal(loadSettings({ ...companions, config: file }, {})[setting.key], value, `${setting.key} in the file`);
      }
    }
  }
});

test('every setting refuses what it does not take, and says where it came from, what it was and what is accepted', () => {
  for (const setting of SETTINGS) {
    const beyond: string[] = [];
    if (setting.min !== undefined && setting.min > 0) beyond.push(String(setting.min - 1));
    if (setting.max !== undefined) beyond.push(String(setting.max + 1));
    for (const text of [...SAMPLES[setting.kind]!.bad, ...beyond]) {
      const message = `${environmentName(setting.key)}: "${text}" is not accepted; expected ${accepted(setting)}`;
      assert.throws(
        () => loadSettings({}, { [environmentName(setting.key)]: text }),
        (error: Error) => error instanceof SettingError && error.message === message,
        message,
      );
    }
    const file = join(temporaryFolder(), 'config.json');
    writeFileSync(file, JSON.stringify({ [setting.key]: { an: 'object' } }));
    const message = `${file}: ${setting.key}: {"an":"object"} is not accepted; expected ${accepted(setting)}`;
    assert.throws(() => loadSettings({ config: file }, {}), (error: Error) => error instanceof SettingError && error.message === message, message);
  }
});

test('a flag goes before a variable, a variable before the file, the file before the default', () => {
  const file = join(temporaryFolder(), 'config.json');
  writeFileSync(file, '{"idle":"6s","shutdownGrace":"3s","maxLogs":5}');
  const settings = loadSettings({ config: file, idle: '8s' }, { SIDELOG_IDLE: '7s', SIDELOG_SHUTDOWN_GRACE: '4s' });
  assert.is(settings.idle, 8000);
  assert.is(settings.shutdownGrace, 4000);
  assert.is(settings.maxLogs, 5);
  assert.is(settings.maxInflight, 1024);
});

test("an empty variable is one that is not set, and other programs' variables are ignored", () => {
  // Kubernetes sets SIDELOG_PORT and SIDELOG_SERVICE_HOST where a service is called sidelog.
  const environment = { SIDELOG_IDLE: '', SIDELOG_CONFIG: '', SIDELOG_PORT: 'tcp://10.0.0.1:8400', SIDELOG_SERVICE_HOST: '10.0.0.1' };
  const settings = loadSettings({}, environment);
  assert.is(settings.idle, 30_000);
  assert.equal(settings.listen, { host: '127.0.0.1', port: 8400 });
});

test('a file that is no object of known settings is refused', () => {
  const file = join(temporaryFolder(), 'config.json');
  const wrong: [string, RegExp][] = [
    ['{', /^--config .*config\.json: /],
    ['[]', /^--config .*config\.json: must be one JSON object of settings$/],
    ['{"dataDri":"x"}', /^--config .*config\.json: unknown setting "dataDri"; known are dataDir, listen, /],
  ];
  for (const [text, message] of wrong) {
    writeFileSync(file, text);
    assert.throws(() => loadSettings({ config: file }, {}), (error: Error) => error instanceof SettingError && message.test(error.message));
  }
  assert.throws(() => loadSettings({ config: '/nope.json' }, {}), /--config \/nope\.json: ENOENT/);
});

test('what an editor puts in front of a file is passed over, and what is wrong in it is one line', () => {
  const path = join(temporaryFolder(), 'config.json');
  writeFileSync(path, '\uFEFF{"idle":"7s"}');
  assert.is(loadSettings({ config: path }, {}).idle, 7000);
  writeFileSync(path, 'first\nsecond\n');
  assert.throws(() => loadSettings({ config: path }, {}), (error: Error) => /^--config .*not valid JSON$/.test(error.message));
});

test('a variable that looks like a setting and is none is told from those of others', () => {
  const environment = Object.fromEntries([
    'SIDELOG_DATADIR', 'SIDELOG_MAXBATCH', 'SIDELOG_DATA_DIR', 'SIDELOG_CONFIG', 'SIDELOG_TO', 'SIDELOG_TLS', 'SIDELOG_TLS_CA', 'SIDELOG_TOKEN', 'PATH',
    // What Kubernetes sets for a service called sidelog, or sidelog-main.
    'SIDELOG_SERVICE_HOST', 'SIDELOG_SERVICE_PORT_CLIENT', 'SIDELOG_PORT', 'SIDELOG_PORT_8400_TCP_ADDR', 'SIDELOG_MAIN_PORT_8400_TCP', 'SIDELOG_MAIN_SERVICE_HOST',
  ].map((name) => [name, 'x']));
  assert.equal(unknownVariables(environment), ['SIDELOG_DATADIR', 'SIDELOG_MAXBATCH']);
});

test('the thread pool is as large as libuv makes it, whatever the variable says', () => {
  const sizes: [string | undefined, number][] = [[undefined, 4], ['16', 16], ['1', 1], ['0', 1], ['foo', 1], ['', 1], ['8x', 8], ['-1', 1024], ['99999', 1024]];
  for (const [variable, size] of sizes) assert.is(threadPoolSize(variable), size, variable);
});

test('rules between settings name the flag that mends it', () => {
  const cases: [Record<string, unknown>, RegExp | null][] = [
    [{ 'tls-cert': 'c' }, /--tls-cert and --tls-key go together/],
    [{ 'max-batch': '8MiB' }, /--max-frame: 4194304 is too small for --max-batch 8388608; it must be at least 8396800/],
    [{ 'max-batch': '8MiB', 'max-frame': '8396800' }, null],
    [{ listen: '0.0.0.0:1' }, /reachable from other hosts: give --tls-cert and --tls-key, or --allow-plaintext/],
    [{ listen: '0.0.0.0:1', 'allow-plaintext': true }, /cannot tell clients apart: give --allow-anonymous/],
    [{ listen: '0.0.0.0:1', 'allow-plaintext': true, 'allow-anonymous': true }, null],
    [{ listen: '[::]:1' }, /reachable from other hosts/],
    [{ listen: '127.9.9.9:1' }, null],
    [{ listen: '[::1]:1' }, null],
    [{ listen: 'localhost:1' }, null],
  ];
  for (const [flags, message] of cases) {
    if (message === null) loadSettings(flags, {});
    else assert.throws(() => loadSettings(flags, {}), message);
  }
});

test('each setting has an option, and the names of its sources follow from its key', () => {
  const options = settingOptions();
  for (const { key, kind } of SETTINGS) assert.is(options[flagName(key)]!.type, kind === 'flag' ? 'boolean' : 'string');
  assert.is(flagName('tlsCert'), 'tls-cert');
  assert.is(environmentName('tlsCert'), 'SIDELOG_TLS_CERT');
  assert.is(new Set(SETTINGS.map(({ key }) => key)).size, SETTINGS.length);
});

test.run();
