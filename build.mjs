#!/usr/bin/env node
// Makes dist/sidelog.cjs: server, CLI and client library in one executable CommonJS file.
// CommonJS because UV_THREADPOOL_SIZE only takes effect when it is set before anything loads,
// which an ES module cannot do on Node 20. `--all` also writes the client's declarations and dist/conformance.mjs.
import { build } from 'esbuild';
import { spawnSync } from 'node:child_process';
import { buildConformance } from './conformance/build.mjs';
import { chmodSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';

/** Bytes the minified server file may have: it is copied into images and read at every start. */
const SIZE_BUDGET_BYTES = 700 * 1024;

const { version } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'));

// The thread pool serves fdatasync, cold reads and zlib; Node's default of 4 is too few. Only when
// run as a program: an app that imports the client keeps its own setting.
const PROLOGUE =
  "if(require.main===module&&!process.env.UV_THREADPOOL_SIZE)process.env.UV_THREADPOOL_SIZE='16';";

// Planted bugs (src/wire/mut.ts) are for test builds: here each condition becomes `false`, and the
// minifier drops what hangs on it. The spaces keep the source map's columns true.
const planted = new Set();
const withoutPlantedBugs = {
  name: 'without-planted-bugs',
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]src[\\/].*\.ts$/ }, ({ path }) => {
      const source = readFileSync(path, 'utf8');
      const contents = source.replace(/\bmut\('([^']+)'\)/g, (call, name) => {
        planted.add(name);
        return 'false'.padEnd(call.length);
      });
      return { contents, loader: 'ts' };
    });
  },
};

mkdirSync('dist', { recursive: true });
await build({
  entryPoints: ['src/main.ts'],
  outfile: 'dist/sidelog.cjs',
  bundle: true,
  platform: 'node',
  target: 'node20.19',
  format: 'cjs',
  minify: true,
  keepNames: true,
  legalComments: 'none',
  sourcemap: 'linked',
  define: { __SIDELOG_VERSION__: JSON.stringify(version), __SIDELOG_MUTANTS__: 'false' },
  plugins: [withoutPlantedBugs],
  banner: { js: `#!/usr/bin/env node\n${PROLOGUE}` },
  logLevel: 'warning',
});
chmodSync('dist/sidelog.cjs', 0o755);

const shipped = readFileSync('dist/sidelog.cjs', 'utf8');
const left = [...planted, 'sidelogMutant'].filter((name) => shipped.includes(name));
if (left.length > 0) {
  console.error(`dist/sidelog.cjs contains planted bugs: ${left.join(', ')}`);
  process.exit(1);
}

const size = statSync('dist/sidelog.cjs').size;
console.log(`dist/sidelog.cjs ${(size / 1024).toFixed(0)} KiB of ${SIZE_BUDGET_BYTES / 1024}`);
if (size > SIZE_BUDGET_BYTES) {
  console.error('dist/sidelog.cjs is over its size budget');
  process.exit(1);
}

if (process.argv.includes('--all')) {
  await buildConformance();
  rmSync('dist/types', { recursive: true, force: true });
  const tsc = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.types.json'], {
    stdio: 'inherit',
  });
  if (tsc.status !== 0) process.exit(1);
}
