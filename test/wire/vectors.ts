// Reads the golden vectors of conformance/vectors and compares decoded values with their `fields`.
import { existsSync, readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { greaseType } from '../../src/wire/ext.ts';

export interface Row {
  id: string;
  kind: string;
  hex: string;
  base?: string;
  note?: string;
  fields?: any;
  expect?: any;
}

const FOLDER = 'conformance/vectors';

export function rowsOf(file: string): Row[] {
  return JSON.parse(readFileSync(`${FOLDER}/${file}`, 'utf8')).rows;
}

export function hasVectors(file: string): boolean {
  return existsSync(`${FOLDER}/${file}`);
}

const camel = (key: string): string => key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

/** Asserts that `mine` is what a vector says: u64 as decimal strings, bytes as hex, NONE by name. */
export function assertMatches(mine: any, theirs: any, path: string): void {
  if (Buffer.isBuffer(mine)) assert.is(mine.toString('hex'), theirs, path);
  else if (typeof mine === 'number') assert.is(mine, theirs === 'NONE' ? -1 : Number(theirs), path);
  else if (Array.isArray(theirs)) {
    assert.is(mine.length, theirs.length, `${path}.length`);
    theirs.forEach((value, i) => assertMatches(mine[i], value, `${path}[${i}]`));
  } else if (theirs !== null && typeof theirs === 'object') {
    for (const [key, value] of Object.entries(theirs)) assertMatches(mine[camel(key)], value, `${path}.${key}`);
  } else assert.is(mine, theirs, path);
}

const GREASE = new Set(Array.from({ length: 8 }, (_, n) => greaseType(n)));

export const isGrease = (type: number): boolean => GREASE.has(type);
