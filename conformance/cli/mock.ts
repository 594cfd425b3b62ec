// `mock`: a scriptable fake server for tests of clients. One JSON object a line tells what the client
// did; the exit code says whether it broke the protocol.
import { readFileSync } from 'node:fs';
import { EXIT } from '../engine/verdict.ts';
import { ScriptError, parseScript } from '../mock/script.ts';
import type { Script } from '../mock/script.ts';
import { MockServer } from '../mock/server.ts';
import { UsageError, parseArgs } from './args.ts';

export async function mockCommand(argv: readonly string[]): Promise<number> {
  const args = parseArgs(argv, ['script', 'port'], ['quiet']);
  const file = args.text('script');
  let script: Script = { hello: {}, rules: [] };
  const port = args.whole('port', 0, 0, 65_535);
  let violations = 0;
  let mock: MockServer;
  try {
    if (file !== null) script = parseScript(readFileSync(file, 'utf8'));
    mock = new MockServer(script, (event) => {
      if (event.event === 'violation') violations++;
      if (!args.flag('quiet') || event.event === 'listening' || event.event === 'violation') process.stdout.write(`${JSON.stringify(event)}\n`);
    });
  } catch (error) {
    if (error instanceof ScriptError || (error as NodeJS.ErrnoException).code === 'ENOENT') throw new UsageError((error as Error).message);
    throw error;
  }
  await mock.listen(port).catch((error: Error) => {
    throw new UsageError(error.message);
  });
  await new Promise<void>((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
  });
  await mock.close();
  return violations > 0 ? EXIT.failures : EXIT.conformant;
}
