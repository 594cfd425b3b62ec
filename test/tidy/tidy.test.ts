import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { globSync } from '../support/glob.mjs';
import { BANS, BANS_EVERYWHERE, FILE_LINES_MAX, IMPORT_TABLE, OUTSIDE, PACKAGES, ROOTS } from './rules.ts';

const test = suite('tidy');

interface Source {
  readonly path: string;
  readonly text: string;
  /** The text without comments, so that prose may name what code may not use. */
  readonly code: string;
}

const sources = ['src', 'test', 'conformance', 'bench'].flatMap((folder) => globSync(folder, '.ts')).map(load);
const product = sources.filter(({ path }) => path.startsWith('src/'));

function load(path: string): Source {
  const text = readFileSync(path, 'utf8');
  const code = text.replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ' ')).replace(/(^|\s)\/\/.*$/gm, '$1');
  return { path, text, code };
}

function imports(source: Source): string[] {
  return [...source.code.matchAll(/(?:\bfrom\s+|\bimport\s*\(?\s*)'([^']+)'/g)].map((match) => match[1]!);
}

/** `path:line` of the first place where `pattern` matches. */
function place(source: Source, pattern: RegExp): string | null {
  const match = pattern.exec(source.code);
  return match === null ? null : `${source.path}:${source.code.slice(0, match.index).split('\n').length}`;
}

function none(findings: string[]): void {
  assert.is(findings.join('\n'), '');
}

function startsWithAny(path: string, prefixes: readonly string[]): boolean {
  return prefixes.some((prefix) => path.startsWith(prefix));
}

test('finds the sources it is to check', () => {
  assert.ok(product.length > 20);
});

test('each folder imports only what the import table allows', () => {
  const findings: string[] = [];
  for (const source of product) {
    const path = source.path.slice('src/'.length);
    if (startsWithAny(path, ROOTS)) continue;
    const row = Object.keys(IMPORT_TABLE).filter((prefix) => path.startsWith(prefix)).sort((a, b) => b.length - a.length)[0];
    if (row === undefined) {
      findings.push(`${source.path}:1: is in no row of the import table (test/tidy/rules.ts)`);
      continue;
    }
    for (const target of imports(source).filter((name) => name.startsWith('.'))) {
      const resolved = normalize(join(dirname(path), target));
      if (!startsWithAny(resolved, IMPORT_TABLE[row]!)) findings.push(`${source.path}: imports ${resolved}; ${row} may import ${IMPORT_TABLE[row]!.join(', ')}`);
    }
  }
  none(findings);
});

test('time, random, timers, sockets and files stay in their places', () => {
  const findings: string[] = [];
  for (const source of product) {
    if (startsWithAny(source.path.slice('src/'.length), OUTSIDE)) continue;
    for (const { pattern, use } of BANS) {
      const where = place(source, pattern);
      if (where !== null) findings.push(`${where}: ${pattern.source} is banned here, use ${use}`);
    }
  }
  none(findings);
});

test('no enum, barrel file or leftover marker anywhere', () => {
  const findings: string[] = [];
  for (const source of sources) {
    if (source.path.startsWith('test/tidy/')) continue;
    for (const { pattern, use } of BANS_EVERYWHERE) {
      const where = place(source, pattern);
      if (where !== null) findings.push(`${where}: ${pattern.source} is banned, use ${use}`);
    }
  }
  none(findings);
});

test('only the allowed packages are declared and imported, each in its place', () => {
  const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as Record<string, Record<string, string> | undefined>;
  assert.equal(Object.keys(manifest['dependencies'] ?? {}).sort(), ['@noble/hashes', 'zod']);
  assert.equal(Object.keys(manifest['devDependencies'] ?? {}).sort(), ['@types/node', 'c8', 'esbuild', 'typescript', 'uvu']);
  assert.is(manifest['optionalDependencies'], undefined);
  assert.is(manifest['peerDependencies'], undefined);
  const findings: string[] = [];
  for (const source of sources) {
    for (const name of imports(source)) {
      if (name.startsWith('.') || name.startsWith('node:')) continue;
      const packageName = name.startsWith('@') ? name.split('/').slice(0, 2).join('/') : name.split('/')[0]!;
      const where = PACKAGES[packageName];
      if (where === undefined || !where.test(source.path)) findings.push(`${source.path}: imports ${name}`);
    }
  }
  none(findings);
});

test('imports name their file with its ending, and Node modules with node:', () => {
  const findings: string[] = [];
  for (const source of sources) {
    for (const name of imports(source)) {
      if (name.startsWith('.') && !/\.(ts|mjs|json)$/.test(name)) findings.push(`${source.path}: imports ${name} without its ending`);
    }
  }
  none(findings);
});

test('every source file is imported by another one, or is an entry', () => {
  const entries = new Set(['src/main.ts']);
  const imported = new Set<string>();
  for (const source of product) {
    for (const name of imports(source)) if (name.startsWith('.')) imported.add(normalize(join(dirname(source.path), name)));
  }
  none(product.filter(({ path }) => !imported.has(path) && !entries.has(path) && !path.startsWith('src/raft/')).map(({ path }) => `${path}: is never imported`));
});

test('source files stay small enough to do one thing', () => {
  none(
    sources
      .filter(({ path }) => path.startsWith('src/') || (path.startsWith('conformance/') && !path.endsWith('.test.ts')))
      .map(({ path, text }) => ({ path, lines: text.split('\n').length - 1 }))
      .filter(({ lines }) => lines > FILE_LINES_MAX)
      .map(({ path, lines }) => `${path}: has ${lines} lines, at most ${FILE_LINES_MAX}`),
  );
});

test('every source file says in its head what it is', () => {
  none(product.filter(({ text }) => !/^(#!.*\n)?(\/\/|\/\*)/.test(text)).map(({ path }) => `${path}:1: begins without a comment`));
});

test('every suite runs, and every throws has a matcher', () => {
  const findings: string[] = [];
  for (const source of sources.filter(({ path }) => path.endsWith('.test.ts'))) {
    const suites = [...source.code.matchAll(/(?:const|let)\s+(\w+)\s*=\s*suite(?:<[^>]*>)?\(/g)].map((match) => match[1]!);
    if (suites.length === 0) findings.push(`${source.path}: has no suite`);
    for (const name of suites) {
      if (!new RegExp(`\\b${name}\\.run\\(\\)`).test(source.code)) findings.push(`${source.path}: ${name}.run() is missing, so its tests never run`);
    }
    for (const match of source.code.matchAll(/assert\.throws\(/g)) {
      if (argumentCount(source.code, match.index + match[0].length) < 2) {
        findings.push(`${source.path}:${source.code.slice(0, match.index).split('\n').length}: throws without a matcher takes any error`);
      }
    }
  }
  none(findings);
});

/** Counts the arguments of a call whose opening parenthesis ends at `at`. */
function argumentCount(code: string, at: number): number {
  let depth = 0;
  let count = 1;
  let quote = '';
  for (let i = at; i < code.length; i++) {
    const char = code[i]!;
    if (quote !== '') {
      if (char === '\\') i++;
      else if (char === quote) quote = '';
    } else if (char === "'" || char === '"' || char === '`') quote = char;
    else if ('([{'.includes(char)) depth++;
    else if (')]}'.includes(char)) {
      if (depth === 0) return count;
      depth--;
    } else if (char === ',' && depth === 0 && !/^\s*\)/.test(code.slice(i + 1))) count++;
  }
  return count;
}

test.run();
