// `sidelog position …`: named positions, the next offset an application wants to read.
import { CliError, Exit } from './command.ts';
import type { Command } from './command.ts';
import { CONNECTION_OPTIONS, numberOption, withClient } from './connection.ts';
import { offsetOperand } from './operands.ts';
import { printJson } from './stdout.ts';

export const positionCommands: readonly Command[] = [
  {
    name: 'position get',
    operands: 'LOG NAME',
    summary: 'print a named position',
    arity: [2, 2],
    options: CONNECTION_OPTIONS,
    run: ({ values, operands }) => withClient(values, async (client) => {
      const offset = await client.positions.get(operands[0]!, operands[1]!);
      if (offset === null) throw new CliError(`log "${operands[0]}" has no position "${operands[1]}"`);
      printJson({ log: operands[0], name: operands[1], offset });
      return Exit.ok;
    }),
  },
  {
    name: 'position put',
    operands: 'LOG NAME OFFSET',
    summary: 'set a named position; OFFSET "none" deletes it',
    arity: [3, 3],
    options: {
      expected: { type: 'string', hint: 'OFFSET', help: 'only if it stands there now (0 when there is none)' },
      ...CONNECTION_OPTIONS,
    },
    run({ values, operands }) {
      const [log, name, text] = operands as [string, string, string];
      const offset = text === 'none' ? null : offsetOperand(text);
      const options = { expected: numberOption(values, 'expected') };
      return withClient(values, async (client) => {
        if (offset === null) await client.positions.delete(log, name, options);
        else await client.positions.put(log, name, offset, options);
        printJson({ log, name, offset });
        return Exit.ok;
      });
    },
  },
  {
    name: 'position list',
    operands: 'LOG',
    summary: 'list the named positions of a log',
    arity: [1, 1],
    options: CONNECTION_OPTIONS,
    run: ({ values, operands }) => withClient(values, async (client) => {
      for (const entry of await client.positions.list(operands[0]!)) printJson(entry);
      return Exit.ok;
    }),
  },
];
