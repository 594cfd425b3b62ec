// The target file: its schema and the code that reads it say the same about every file. Right ones are
// changed in one place, in every way that there is, and both must judge each alike.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HOOK_NAMES } from '../engine/hooks.ts';
import { ManifestError, loadTarget, parseTarget } from '../engine/target.ts';
import schema from '../target.schema.json';

const test = suite('conformance/target');

type Json = Record<string, unknown>;
interface Rule {
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Rule>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: false;
  readonly items?: Rule;
  readonly minItems?: number;
  readonly minLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
}
const WORDS = ['type', 'const', 'properties', 'required', 'additionalProperties', 'items', 'minItems', 'minLength', 'minimum', 'maximum', 'description', 'title', '$schema', '$id'];

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  return Number.isInteger(value) ? 'integer' : typeof value;
}

/** As much of JSON Schema as the file uses. */
function fits(value: unknown, rule: Rule): boolean {
  for (const word of Object.keys(rule)) assert.ok(WORDS.includes(word), `this test does not know ${word}`);
  if (rule.const !== undefined) return value === rule.const;
  if (rule.type !== undefined && ![rule.type].flat().includes(typeOf(value))) return false;
  if (typeof value === 'number') return value >= (rule.minimum ?? -Infinity) && value <= (rule.maximum ?? Infinity);
  if (typeof value === 'string') return value.length >= (rule.minLength ?? 0);
  if (Array.isArray(value)) return value.length >= (rule.minItems ?? 0) && value.every((item) => rule.items === undefined || fits(item, rule.items));
  if (typeof value !== 'object' || value === null) return true;
  const keys = Object.keys(value);
  return (rule.required ?? []).every((key) => keys.includes(key)) && keys.every((key) => {
    const inner = rule.properties?.[key];
    return inner === undefined ? rule.additionalProperties !== false : fits((value as Json)[key], inner);
  });
}

/** Null, or what is said about it. */
function fault(json: unknown): string | null {
  try {
    parseTarget(json, 'conformance');
    return null;
  } catch (error) {
    if (!(error instanceof ManifestError)) throw error;
    assert.not.match(error.message, '\n');
    return error.message;
  }
}

const endpoint = { node: 1, host: '127.0.0.1', port: 8400, pid: 12, localAddress: '127.0.0.2' };
const WHOLE: Json = {
  $schema: './target.schema.json', schema: 'sidelog-target/1', name: 'mine', spec: '1.0', endpoints: [endpoint, { host: '::1', port: 1 }], plaintext: true,
  tls: { ca: 'waivers.json', cert: 'waivers.json', key: 'waivers.json', servername: 'localhost' }, auth: { token: 'secret' },
  features: Object.fromEntries(Object.keys(schema.properties.features.properties).map((name) => [name, true])),
  limits: { logs: 700 }, timing: { restart_ms: 10_000, election_ms: 3_000 }, far: { ...endpoint },
  hooks: Object.fromEntries(HOOK_NAMES.map((name) => [name, ['./target.sh', name]])),
};
const OTHERS: readonly unknown[] = [null, true, false, -1, 0, 1, 1.5, 70_000, 1e9, 2 ** 60, '', 'text', '1.0', [], [''], ['a', 1], [null], {}, { other: 1 }];

/** Every file that differs from `value` in one place. */
function* changed(value: unknown): Generator<unknown> {
  yield* OTHERS;
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) {
      for (const other of changed(item)) yield value.with(i, other);
      yield value.toSpliced(i, 1);
    }
  } else if (typeof value === 'object' && value !== null) {
    yield { ...value, other: 1 };
    for (const [key, inner] of Object.entries(value)) {
      const { [key]: _left, ...rest } = value as Json;
      yield rest;
      for (const other of changed(inner)) yield { ...value, [key]: other };
    }
  }
}

test('the schema and the code judge every file alike', () => {
  assert.is(fault(WHOLE), null);
  assert.ok(fits(WHOLE, schema as Rule));
  let [right, wrong] = [0, 0];
  for (const json of changed(WHOLE)) {
    // Names of files are for the code alone: the schema does not look at the disk.
    const said = fault(json);
    if (said !== null && /^tls\.\w+: E[A-Z]+/.test(said)) continue;
    assert.is(said === null, fits(json, schema as Rule), `${JSON.stringify(json).slice(0, 2_000)}\ncode: ${said}`);
    if (said === null) right++;
    else wrong++;
  }
  assert.ok(right > 100 && wrong > 500, `${right} right, ${wrong} wrong`);
});

test('the whole file of this test has every key of the schema', () => {
  const compare = (value: Json, rule: Rule, where: string): void => {
    assert.equal(Object.keys(value).sort(), Object.keys(rule.properties!).sort(), where);
    for (const [key, inner] of Object.entries(rule.properties!)) if (inner.properties) compare(value[key] as Json, inner, `${where}.${key}`);
  };
  compare(WHOLE, schema as Rule, 'target');
  compare(endpoint, schema.properties.endpoints.items as Rule, 'endpoint');
});

test('an address needs no file, and has a port', () => {
  assert.equal(loadTarget('127.0.0.1:8400').endpoints, [{ node: 1, host: '127.0.0.1', port: 8400, pid: null }]);
  assert.is(loadTarget('[::1]:8400').endpoints[0]!.host, '::1');
  for (const wrong of ['127.0.0.1:0', '127.0.0.1:65536']) assert.throws(() => loadTarget(wrong), /port: must be a whole number from 1 to 65535/);
});

test.run();
