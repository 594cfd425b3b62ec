// Builds the simulator with the planted bugs in it (all switched off) and runs it: see main.ts for the
// arguments. `--node PATH` runs it on another Node, `--built` runs what the last call built.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const OUTPUT = 'build/sim/main.mjs';
const words = process.argv.slice(2);
const at = words.indexOf('--node');
const [, node] = at < 0 ? ['', process.execPath] : words.splice(at, 2);

if (!words.includes('--built') || !existsSync(OUTPUT)) {
  const { build } = await import('esbuild');
  await build({
    entryPoints: ['test/sim/main.ts'],
    outfile: OUTPUT,
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    format: 'esm',
    packages: 'external',
    sourcemap: 'linked',
    define: { __SIDELOG_VERSION__: '"sim"', __SIDELOG_MUTANTS__: 'true' },
    logLevel: 'warning',
  });
}
const { status } = spawnSync(node, ['--enable-source-maps', OUTPUT, ...words.filter((word) => word !== '--built')], { stdio: 'inherit' });
process.exit(status ?? 1);
