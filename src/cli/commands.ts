// All commands, in the order of the help.
import type { Command } from './command.ts';
import { consumeCommand } from './consume.ts';
import { logCommands } from './log.ts';
import { positionCommands } from './position.ts';
import { produceCommand } from './produce.ts';
import { serveCommand } from './serve.ts';
import { statusCommand } from './status.ts';
import { dumpCommand } from './dump.ts';
import { verifyCommand } from './verify.ts';

export const COMMANDS: readonly Command[] = [
  serveCommand,
  produceCommand,
  consumeCommand,
  ...logCommands,
  ...positionCommands,
  statusCommand,
  verifyCommand,
  dumpCommand,
];
