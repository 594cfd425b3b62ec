// Our own server as a target for `run`, and the command behind its hooks.
//   init FOLDER [--test-build] [--no-tls]   makes FOLDER/target.json and starts the server
//   HOOK FOLDER [name=value ...]            what target.json calls
//   end FOLDER                              kills the server and removes FOLDER
// Build it with `node conformance/build.mjs`; it lies in build/conformance/target.mjs then.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { endInOrder } from '../engine/ending.ts';
import { HOOK_NAMES } from '../engine/hooks.ts';
import type { HookName } from '../engine/hooks.ts';
import { buildTestServer } from '../selftest/build-server.ts';
import { OwnServer } from '../selftest/own-server.ts';
import type { OwnServerOptions } from '../selftest/own-server.ts';

const VARS: Partial<Record<HookName, string[]>> = { damage: ['log={log}'], slowsync: ['ms={ms}'], failsync: ['on={on}'], clock: ['ms={ms}'] };

async function main([action, where, ...rest]: string[]): Promise<void> {
  if (action === undefined || where === undefined) throw new Error('usage: target.mjs init|end|HOOK FOLDER');
  const folder = resolve(where);
  const settings = join(folder, 'options.json');
  if (action === 'init') {
    const isTestBuild = rest.includes('--test-build');
    const program = isTestBuild ? await buildTestServer(process.cwd()) : resolve('dist/sidelog.cjs');
    const options: OwnServerOptions = { folder, program, isTestBuild, tls: !rest.includes('--no-tls') };
    const server = new OwnServer(options);
    writeFileSync(settings, JSON.stringify(options));
    await server.start();
    const command = (name: HookName): string[] => [process.execPath, resolve('build/conformance/target.mjs'), name, folder, ...(VARS[name] ?? [])];
    const hooks = Object.fromEntries(HOOK_NAMES.filter((name) => server.has(name)).map((name) => [name, command(name)]));
    writeFileSync(join(folder, 'target.json'), `${JSON.stringify(server.manifest(hooks), null, 1)}\n`);
    process.stdout.write(`${join(folder, 'target.json')}\n`);
    return;
  }
  if (!existsSync(settings)) throw new Error(`${folder} was not made by init`);
  const server = new OwnServer(JSON.parse(readFileSync(settings, 'utf8')) as OwnServerOptions);
  if (action === 'end') return server.destroy();
  const vars = Object.fromEntries(rest.map((word) => word.split('=') as [string, string]));
  process.stdout.write(`${JSON.stringify(await server.run(action as HookName, vars))}\n`);
}

endInOrder(1);
main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exit(1);
});

