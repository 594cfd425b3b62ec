// `init`: writes a target.json with every key, to be cut down to what the server has.
import { existsSync, writeFileSync } from 'node:fs';
import { UsageError, parseArgs } from './args.ts';

const TEMPLATE = {
  schema: 'sidelog-target/1',
  name: 'my server 0.1',
  endpoints: [{ node: 1, host: '127.0.0.1', port: 8400 }],
  plaintext: true,
  tls: { ca: 'ca.pem', cert: null, key: null, servername: 'localhost' },
  features: { idempotence: true, conditional: true, streaming: true, http: true, trash: false },
  limits: {},
  timing: { restart_ms: 10_000 },
  hooks: {
    start: ['./target.sh', 'start', '{node}'],
    stop: ['./target.sh', 'stop', '{node}'],
    kill: ['./target.sh', 'kill', '{node}'],
    wipe: null,
    powerloss: null,
    damage: null,
  },
};

export async function initCommand(argv: readonly string[]): Promise<number> {
  const args = parseArgs(argv, [], ['force']);
  const file = args.words[0] ?? 'target.json';
  if (existsSync(file) && !args.flag('force')) throw new UsageError(`${file} is there already; --force overwrites it`);
  writeFileSync(file, `${JSON.stringify(TEMPLATE, null, 2)}\n`);
  process.stdout.write(`${file} written: take out what your server does not have, then\n  node conformance.mjs run --target ${file}\n`);
  return 0;
}
