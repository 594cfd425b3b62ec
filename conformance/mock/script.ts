// The script of a mock: rules that say when the fake server does something else than answer well.
// Read from JSON and checked here, with an error that names the place.
import { errorByName } from '../wire/errors.ts';
import { LAYOUTS } from '../wire/layouts.ts';
import type { OpName } from '../wire/layouts.ts';

/** The script is wrong: exit code 2. */
export class ScriptError extends Error {
  override name = 'ScriptError';
}

export interface Rule {
  /** An op, or a moment of the connection before there are ops. */
  readonly on: OpName | 'accept' | 'preface';
  /** Only for this log. */
  readonly log?: string;
  /** Only on the n-th connection, from 1. */
  readonly connection?: number;
  /** Lets so many pass first. */
  readonly skip?: number;
  /** Holds so often, then no more; for ever when left out. */
  readonly times?: number;
  readonly delay_ms?: number;
  /** Fields of the answer that differ from the good one; u64 as decimal strings, bytes as hex. */
  readonly answer?: Readonly<Record<string, unknown>>;
  readonly error?: string;
  readonly message?: string;
  readonly retry_after_ms?: number;
  /** Carries the request out, whatever the client is told: an outcome that is unknown to it. */
  readonly effect?: boolean;
  /** No answer. */
  readonly drop?: boolean;
  /** The answer comes twice. */
  readonly twice?: boolean;
  /** A GOAWAY with this code in place of the answer; the connection ends, unless `grace_ms` is there. */
  readonly goaway?: string;
  /** With `goaway`: the connection goes on, and the GOAWAY says for how long. */
  readonly grace_ms?: number;
  /** These bytes in place of the answer. */
  readonly hex?: string;
  /** Ends the connection then. */
  readonly close?: 'fin' | 'reset';
}

export interface Script {
  readonly hello: Readonly<Record<string, unknown>>;
  readonly rules: readonly Rule[];
}

const TYPES: Readonly<Record<string, 'string' | 'number' | 'boolean' | 'object'>> = {
  on: 'string', log: 'string', connection: 'number', skip: 'number', times: 'number', delay_ms: 'number', answer: 'object', error: 'string', message: 'string',
  retry_after_ms: 'number', effect: 'boolean', drop: 'boolean', twice: 'boolean', goaway: 'string', grace_ms: 'number', hex: 'string', close: 'string',
};

/** @throws ScriptError */
export function parseScript(text: string): Script {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new ScriptError(`the script is no JSON: ${(error as Error).message}`);
  }
  const root = object(json, 'the script');
  if (root['schema'] !== 'sidelog-mock/1') throw new ScriptError('schema: must be "sidelog-mock/1"');
  for (const key of Object.keys(root)) if (!['schema', 'hello', 'rules'].includes(key)) throw new ScriptError(`${key}: unknown key; known are schema hello rules`);
  const hello = root['hello'] === undefined ? {} : object(root['hello'], 'hello');
  const rules = root['rules'] ?? [];
  if (!Array.isArray(rules)) throw new ScriptError('rules: must be a list');
  return { hello, rules: rules.map((rule, i) => parseRule(object(rule, `rules[${i}]`), `rules[${i}]`)) };
}

function parseRule(rule: Record<string, unknown>, where: string): Rule {
  for (const [key, value] of Object.entries(rule)) {
    const type = TYPES[key];
    if (type === undefined) throw new ScriptError(`${where}.${key}: unknown key; known are ${Object.keys(TYPES).join(' ')}`);
    if (typeof value !== type || value === null) throw new ScriptError(`${where}.${key}: must be a ${type}`);
  }
  const { on, error, goaway, hex, close } = rule as Partial<Record<string, string>>;
  if (on === undefined || (!(on in LAYOUTS) && on !== 'accept' && on !== 'preface')) {
    throw new ScriptError(`${where}.on: must be an op (${Object.keys(LAYOUTS).join(' ')}), "accept" or "preface"`);
  }
  for (const [key, name] of [['error', error], ['goaway', goaway]] as const) {
    if (name !== undefined && !isError(name)) throw new ScriptError(`${where}.${key}: no error of the protocol is called ${name}`);
  }
  if (hex !== undefined && !/^([0-9a-fA-F]{2})*$/.test(hex)) throw new ScriptError(`${where}.hex: must be bytes in hex`);
  if (close !== undefined && close !== 'fin' && close !== 'reset') throw new ScriptError(`${where}.close: must be "fin" or "reset"`);
  return rule as unknown as Rule;
}

function isError(name: string): boolean {
  try {
    errorByName(name);
    return true;
  } catch {
    return false;
  }
}

function object(value: unknown, where: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new ScriptError(`${where}: must be an object`);
  return value as Record<string, unknown>;
}

/** The rules of one mock, counting how often each has held. */
export class Rulebook {
  private readonly rules: readonly Rule[];
  private readonly met: number[];

  constructor(rules: readonly Rule[]) {
    this.rules = rules;
    this.met = rules.map(() => 0);
  }

  /** The first rule that holds now; it counts as used. */
  take(on: Rule['on'], connection: number, log: string | undefined): Rule | null {
    for (const [i, rule] of this.rules.entries()) {
      if (rule.on !== on || (rule.connection ?? connection) !== connection || (rule.log !== undefined && rule.log !== log)) continue;
      const met = this.met[i]!;
      const { skip = 0, times = Infinity } = rule;
      if (met >= skip + times) continue;
      this.met[i] = met + 1;
      if (met >= skip) return rule;
    }
    return null;
  }
}
