// The command line of the conformance suite: one file, no packages. Each command lives in cli/.
import { UsageError } from './cli/args.ts';
import { checkVectorsCommand, vectorsCommand } from './cli/vectors.ts';
import { coverageCommand, explainCommand, listCommand } from './cli/catalog.ts';
import { initCommand } from './cli/init.ts';
import { mockCommand } from './cli/mock.ts';
import { runCommand } from './cli/run.ts';
import { selftestCommand } from './cli/selftest.ts';
import { endInOrder, isEnding } from './engine/ending.ts';
import { SUITE_VERSION } from './engine/suite.ts';
import { ManifestError } from './engine/target.ts';
import { EXIT } from './engine/verdict.ts';

const USAGE = `sidelog conformance suite ${SUITE_VERSION}

  run --target HOST:PORT|target.json   runs the suite; TAP on stdout
      --profile core,tls  --case 'produce/**'  --skip PAT  --level must|should|may
      --transport plain|tls  --timeout-scale 2  --seed N  --rerun 1  --jobs 2  --crash-rounds 3
      --report json=F,junit=F,html=F  --known-failing @F  --known-flaky @F  --provisional warn|fail
  list [--json|--md]                   all cases
  explain CASE                         what a case does, and the sentences it holds a server to
  coverage [--json]                    requirement by requirement, the cases that cover it
  init [FILE] [--force]                writes a target.json to fill in, and hooks; init --schema prints its JSON schema
  vectors --out DIR                    writes the golden vectors
  check-vectors [--only WORD] -- CMD   checks a codec over JSON lines, without a server
  mock [--script FILE] [--port N]      a scriptable fake server, to test clients with
  selftest [--quick|--full]            shows that the suite can fail (inside the repository)

exit: 0 conformant, 1 failures, 2 wrong usage, 3 unreachable or harness error, 4 stale known failures
`;

type Command = (argv: readonly string[]) => Promise<number>;
const COMMANDS: Readonly<Record<string, Command>> = {
  run: runCommand, list: listCommand, explain: explainCommand, coverage: coverageCommand, init: initCommand, vectors: vectorsCommand,
  'check-vectors': checkVectorsCommand, mock: mockCommand, selftest: selftestCommand,
};

async function main(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    process.stdout.write(USAGE);
    return name === undefined ? EXIT.usage : EXIT.conformant;
  }
  if (name === '--version') {
    process.stdout.write(`${SUITE_VERSION}\n`);
    return EXIT.conformant;
  }
  const command = COMMANDS[name];
  if (command === undefined) throw new UsageError(`unknown command ${name}`);
  return command(rest);
}

function fail(error: unknown): void {
  const usage = error instanceof UsageError || error instanceof ManifestError;
  process.stderr.write(usage ? `${(error as Error).message}; see: conformance.mjs help\n` : `${(error as Error).stack ?? String(error)}\n`);
  process.exit(usage ? EXIT.usage : EXIT.harness);
}

process.on('uncaughtException', fail);
// These begin what must not outlive them.
if (['run', 'selftest', 'check-vectors'].includes(process.argv[2]!)) endInOrder(EXIT.harness);
else process.stdout.on('error', () => process.exit(EXIT.harness)); // a closed pipe, as of `| head`
main(process.argv.slice(2)).then(
  (code) => {
    if (isEnding()) return;
    process.exitCode = code;
    // Sockets that a case left behind must not hold the process.
    setTimeout(() => process.exit(code), 500).unref();
  },
  (error: unknown) => {
    if (!isEnding()) fail(error);
  },
);
