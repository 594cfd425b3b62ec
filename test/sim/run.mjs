// Builds the simulator and runs it: see main.ts for the arguments. `--node PATH` runs it on another Node,
// `--built` runs what the last call built, `--profile FOLDER` writes a CPU profile there.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { OUTPUT } from './build.mjs';

const words = process.argv.slice(2);
const node = take('--node') ?? process.execPath;
const profile = take('--profile');

if (!words.includes('--built') || !existsSync(OUTPUT)) {
  const { buildSim } = await import('./build.mjs');
  await buildSim();
}
const flags = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`];
const { status } = spawnSync(node, ['--enable-source-maps', '--max-semi-space-size=64', ...flags, OUTPUT, ...words.filter((word) => word !== '--built')], { stdio: 'inherit' });
process.exit(status ?? 1);

/** Takes an option and its value out of the arguments. */
function take(name) {
  const at = words.indexOf(name);
  return at < 0 ? undefined : words.splice(at, 2)[1];
}
