// Builds dist/conformance.mjs, the suite as one file. First it checks the suite against the norm:
// requirements are read from docs/protocol.md, and the build fails when an id comes twice, a case
// names an unknown requirement, a MUST has neither case nor waiver, too much is waived, or a
// sentence changed since its cases were last looked at (requirements.lock.json, renewed with
// `node conformance/build.mjs --accept`).
import { build } from 'esbuild';
import { readFileSync, writeFileSync, chmodSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { join } from 'node:path';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const COMMON = { bundle: true, platform: 'node', target: 'node20.19', format: 'esm', absWorkingDir: ROOT, logLevel: 'warning', external: ['esbuild'] };

/** @param {{accept?: boolean, lenient?: boolean}} options */
export async function buildConformance(options = {}) {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const markdown = readFileSync(join(ROOT, 'docs/protocol.md'), 'utf8');
  const checker = join(ROOT, 'build/conformance/audit.mjs');
  await build({ ...COMMON, entryPoints: ['conformance/audit.ts'], outfile: checker });
  const { audit } = await import(`${pathToFileURL(checker).href}?${Date.now()}`);
  const lockFile = join(ROOT, 'conformance/requirements.lock.json');
  const found = audit(markdown, JSON.parse(readFileSync(lockFile, 'utf8')), options.accept === true);
  if (options.accept) writeFileSync(lockFile, `${JSON.stringify(found.lock, null, 1)}\n`);
  if (found.problems.length > 0) {
    console.error(`conformance: ${found.problems.join('\nconformance: ')}`);
    if (!options.lenient) process.exit(1);
  }
  await build({
    ...COMMON,
    entryPoints: ['conformance/main.ts'],
    outfile: 'dist/conformance.mjs',
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    banner: { js: '#!/usr/bin/env node' },
    define: { __REQUIREMENTS__: JSON.stringify(found.requirements), __SUITE_VERSION__: JSON.stringify(`1.0.${version.split('.')[2]}`), __VECTORS_README__: JSON.stringify(readFileSync(join(ROOT, 'conformance/vectors/README.md'), 'utf8')) },
  });
  chmodSync(join(ROOT, 'dist/conformance.mjs'), 0o755);
  await buildTarget();
  console.log(`dist/conformance.mjs ${found.summary}`);
}

/** Our server as a target, with hooks. */
async function buildTarget() {
  await build({ ...COMMON, entryPoints: ['conformance/targets/sidelog.ts'], outfile: 'build/conformance/target.mjs', packages: 'external' });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes('--target')) await buildTarget();
  else await buildConformance({ accept: process.argv.includes('--accept'), lenient: process.argv.includes('--lenient') });
}
