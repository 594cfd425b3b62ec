// Operands that several commands take, checked before anything is connected.
import { CliError, Exit } from './command.ts';

/** An offset. Throws CliError (usage). */
export function offsetOperand(text: string): number {
  const offset = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(offset)) return offset;
  throw new CliError(`"${text}" is not an offset; expected a whole number`, Exit.usage);
}
