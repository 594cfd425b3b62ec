// The arguments of the programs beside the test runner: what is wrong with them is said in one line, with the usage.
import { parseArgs } from 'node:util';

/**
 * `options` as for parseArgs, without `help`; `isValid` judges their values. Returns these; after --help, or
 * where something is wrong, the process ends.
 */
export function readOptions({ name, usage, options, isValid }) {
  let values;
  try {
    values = parseArgs({ options: { ...options, help: { type: 'boolean', default: false } } }).values;
  } catch (error) {
    console.error(`${name}: ${error.message}\n${usage}`);
    process.exit(2);
  }
  if (!values.help && isValid(values)) return values;
  console.log(usage);
  process.exit(values.help ? 0 : 2);
}
