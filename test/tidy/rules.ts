// The rules of the house as data: who may import whom, which names are banned where, and with what
// to replace them. `tidy.test.ts` applies them to the tree.

/** Folder (or file) of src → what it may import from src, as prefixes. The longest match counts. */
export const IMPORT_TABLE: Readonly<Record<string, readonly string[]>> = {
  'wire/': ['wire/'],
  'index/': ['index/', 'wire/'],
  'segment/': ['segment/', 'index/', 'wire/'],
  'raft/': ['raft/', 'wire/assert.ts', 'wire/bytes.ts', 'wire/mut.ts'],
  'membership/': ['membership/', 'wire/assert.ts', 'wire/bytes.ts'],
  'tls/': ['tls/', 'wire/', 'units.ts'],
  'replica/': ['replica/', 'raft/', 'segment/', 'index/', 'wire/'],
  'http/': ['http/', 'wire/'],
  'units.ts': [],
  'logger.ts': [],
};

/** The composition root and the commands may import anything. */
export const ROOTS: readonly string[] = ['sidecar', 'cli/', 'cli.ts', 'config.ts', 'main.ts', 'node-metrics.ts'];

/** Files that may touch clocks, randomness, timers, sockets and files. */
export const OUTSIDE: readonly string[] = [
  'sidecar', 'cli/', 'cli.ts', 'config.ts', 'main.ts', 'logger.ts', 'http/', 'tls/', 'wire/client/',
  'segment/node-disk', 'segment/mmap-ffi', 'segment/lock',
];

export interface Ban {
  readonly pattern: RegExp;
  readonly use: string;
}

/** Banned in src outside of OUTSIDE. */
export const BANS: readonly Ban[] = [
  { pattern: /\bDate\.now\b|\bnew Date\(\s*\)/, use: 'the Clock port or a `nowMs` argument' },
  { pattern: /\bperformance\.now\b|\bprocess\.hrtime\b/, use: 'the Clock port' },
  { pattern: /\bMath\.random\b/, use: 'the injected random function' },
  { pattern: /\bcrypto\.random|\brandom(Bytes|UUID|Int)\b[^;]*from 'node:crypto'/, use: 'the injected random function' },
  { pattern: /\bset(Timeout|Interval|Immediate)\b/, use: 'ticks, or the injected defer' },
  { pattern: /from 'node:(fs|fs\/promises|net|tls|dgram|http|https|http2|child_process|worker_threads|os)'/, use: 'a port' },
  { pattern: /\bMath\.(log|log2|log10|exp|pow)\b/, use: 'integer arithmetic or a table: engine versions differ' },
];

/** Banned in all TypeScript of the project. */
export const BANS_EVERYWHERE: readonly Ban[] = [
  { pattern: /^\s*(export\s+)?(const\s+)?enum\s/m, use: 'an `as const` object and a union type' },
  { pattern: /^export \* from/m, use: 'direct imports: no barrel files' },
  { pattern: /\bdns\.lookup\b/, use: 'dns.resolve: a hung resolver must not take the thread pool' },
  { pattern: /\b(FIXME|XXX|HACK)\b/, use: 'an issue' },
];

/** Packages that may be imported, and where. */
export const PACKAGES: Readonly<Record<string, RegExp>> = {
  '@noble/hashes': /^(src|test|conformance)\//,
  zod: /^src\/config\.ts$/,
  uvu: /^(test|conformance)\//,
  esbuild: /^(conformance\/selftest|test\/sim)\//,
  sidelog: /^test\/cli\/package\.test\.ts$/,
};

/** Lines a source file may have. */
export const FILE_LINES_MAX = 400;
