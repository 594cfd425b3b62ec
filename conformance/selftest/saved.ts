// What a selftest found, kept in a file between its parts: a part adds to what the others found, as
// long as the suite and our server are byte for byte the same.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { Status } from '../engine/case.ts';
import type { Matrix } from './gates.ts';

/** A run against a server without a fault. */
export interface Pristine {
  readonly name: string;
  readonly part: string;
  readonly verdict: string;
  readonly cases: number;
  readonly problems: readonly string[];
  readonly seconds: number;
}

export interface Found {
  pristine: Pristine[];
  /** Server that does nothing right → case → status. */
  readonly nulls: Map<string, Map<string, Status>>;
  readonly matrix: Matrix;
}

export function nothingFound(): Found {
  return { pristine: [], nulls: new Map(), matrix: new Map() };
}

/** What was judged: the suite's and the server's files as they are now. */
export function buildKey(files: readonly string[]): string {
  const hash = createHash('sha256');
  for (const file of files) hash.update(existsSync(file) ? readFileSync(file) : file);
  return hash.digest('hex').slice(0, 16);
}

const toJson = (map: ReadonlyMap<string, ReadonlyMap<string, Status>>): unknown => Object.fromEntries([...map].map(([name, inner]) => [name, Object.fromEntries(inner)]));
const fromJson = (json: Record<string, Record<string, Status>>): Map<string, Map<string, Status>> =>
  new Map(Object.entries(json).map(([name, inner]) => [name, new Map(Object.entries(inner))]));

/** @param more what a reader of the file wants beside it. */
export function save(file: string, key: string, { pristine, nulls, matrix }: Found, more: Readonly<Record<string, unknown>>): void {
  writeFileSync(file, `${JSON.stringify({ ...more, key, pristine, nulls: toJson(nulls), matrix: toJson(matrix) }, null, 1)}\n`);
}

/** Nothing when there is no file, or one of another build. */
export function load(file: string, key: string): Found {
  if (!existsSync(file)) return nothingFound();
  const saved = JSON.parse(readFileSync(file, 'utf8')) as { key: string; pristine: Pristine[]; nulls: never; matrix: never };
  if (saved.key !== key) return nothingFound();
  return { pristine: saved.pristine, nulls: fromJson(saved.nulls), matrix: fromJson(saved.matrix) };
}
