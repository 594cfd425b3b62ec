// Builds the simulator with the planted bugs in it, all switched off.
import { build } from 'esbuild';

export const OUTPUT = 'build/sim/main.mjs';

export async function buildSim() {
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
