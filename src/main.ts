// Entry of dist/sidelog.cjs. Run, it is the command line; imported, it is the client library.
import { runCli } from './cli.ts';

export * as sidelog from './wire/client/client.ts';

declare const require: { main: unknown };
declare const module: unknown;

if (require.main === module) {
  void runCli(process.argv.slice(2)).then((code) => {
    // Not process.exit: what was written to a pipe must still go out.
    process.exitCode = code;
  });
}
