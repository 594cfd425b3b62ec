// `init`: writes a target.json to fill in, and a target.sh with the hooks that it names.
import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import schema from '../target.schema.json';
import { UsageError, parseArgs, write } from './args.ts';

const TEMPLATE = {
  schema: 'sidelog-target/1',
  name: 'my server 0.1',
  endpoints: [{ node: 1, host: '127.0.0.1', port: 8400 }],
  plaintext: true,
  tls: null,
  auth: null,
  features: {},
  limits: {},
  timing: { restart_ms: 10_000 },
  hooks: {
    start: ['./target.sh', 'start'],
    stop: ['./target.sh', 'stop'],
    kill: ['./target.sh', 'kill'],
    wipe: ['./target.sh', 'wipe'],
    powerloss: null,
  },
};

const SCRIPT = `#!/bin/sh
# The hooks of target.json: start, stop, kill and wipe the server under test.
# Put your server's command into serve(); it must stay in the foreground.
cd "$(dirname "$0")" || exit 1
PORT=8400
DATA=./target-data

serve() {
  exec my-server --port "$PORT" --data "$DATA"
}

# Waits until the port takes a connection.
ready() {
  node -e 'const { connect } = require("net"), end = Date.now() + 10000;
    (function dial() {
      connect(+process.argv[1], "127.0.0.1").on("connect", () => process.exit(0))
        .on("error", () => (Date.now() < end ? setTimeout(dial, 50) : process.exit(1)));
    })()' "$PORT"
}

# Waits until the process is gone, for 20 s.
gone() {
  n=0
  while kill -0 "$1" 2>/dev/null && [ $n -lt 400 ]; do sleep 0.05; n=$((n + 1)); done
  [ $n -lt 400 ]
}

case "$1" in
  start)
    (serve) >target.log 2>&1 &
    echo $! >target.pid
    ready || { echo "no connection on port $PORT; see target.log" >&2; exit 1; }
    echo "{\\"pid\\": $(cat target.pid), \\"port\\": $PORT}" ;;
  stop) kill -TERM "$(cat target.pid)" && gone "$(cat target.pid)" ;;
  kill) kill -KILL "$(cat target.pid)" && gone "$(cat target.pid)" ;;
  wipe) rm -rf "$DATA" ;;
  *) echo "usage: target.sh start|stop|kill|wipe" >&2; exit 2 ;;
esac
`;

export async function initCommand(argv: readonly string[]): Promise<number> {
  const args = parseArgs(argv, [], ['force', 'schema'], 1);
  if (args.flag('schema')) {
    process.stdout.write(`${JSON.stringify(schema, null, 2)}\n`);
    return 0;
  }
  const file = args.words[0] ?? 'target.json';
  const script = join(dirname(file), 'target.sh');
  for (const path of [file, script]) if (existsSync(path) && !args.flag('force')) throw new UsageError(`${path} is there already; --force overwrites it`);
  write(() => writeFileSync(file, `${JSON.stringify(TEMPLATE, null, 2)}\n`));
  write(() => writeFileSync(script, SCRIPT));
  chmodSync(script, 0o755);
  process.stdout.write(`${file}: where the server is and what it has; what is not said there is found out
${script}: starts and stops it; put your server's command into serve()
Then:
  ${script.includes('/') ? script : `./${script}`} start
  node conformance.mjs run --target ${file} --report html=report.html
`);
  return 0;
}
