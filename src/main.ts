// Entry of dist/sidelog.cjs. Run, it is the command line; imported, it is the client library.
import { runCli } from './cli.ts';

// By name, one by one: that is how `import { connect } from 'sidelog'` finds them in a CommonJS file.
export {
  BatchBuilder, buildBatch, Client, connect, ErrorCode, LocalCode, NONE, Producer, RawProducer, SidelogError, Subscription,
} from './wire/client/client.ts';

/** How long what is still being written may take after a command has ended. */
const EXIT_PATIENCE_MS = 1000;

declare const require: { main: unknown };
declare const module: unknown;

if (require.main === module) {
  void runCli(process.argv.slice(2)).then((code) => {
    // Not process.exit at once: what was written to a pipe must still go out.
    process.exitCode = code;
    // But nothing that was left open may hold the process either.
    setTimeout(() => process.exit(code), EXIT_PATIENCE_MS).unref();
  });
}
