// Operands that several commands take, checked before anything is connected.
import { isNameRange } from '../wire/layout.ts';
import { CliError, Exit } from './command.ts';

/** What of an operand's placeholder is a name: of a log, or of something in one. */
const NAMES: ReadonlySet<string> = new Set(['LOG', 'NAME']);

/** Checks the operands that are names, by their placeholders (`LOG NAME OFFSET`). Throws CliError (usage). */
export function checkNames(placeholders: string, operands: readonly string[]): void {
  for (const [i, placeholder] of placeholders.split(' ').entries()) {
    if (NAMES.has(placeholder) && operands[i] !== undefined) checkName(placeholder, operands[i]);
  }
}

/** The name of a log, position or producer. Throws CliError (usage). */
export function checkName(what: string, text: string): void {
  const bytes = Buffer.from(text);
  if (isNameRange(bytes, 0, bytes.length)) return;
  throw new CliError(`${what}: "${text}" is not a name; expected 1 to 200 of the characters A-Z a-z 0-9 . _ - and no dot in front`, Exit.usage);
}

/** An offset. Throws CliError (usage). */
export function offsetOperand(text: string): number {
  const offset = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(offset)) return offset;
  throw new CliError(`"${text}" is not an offset; expected a whole number`, Exit.usage);
}
