// Stdout of the commands. A reader that goes away (`| head`) is no failure: what is left is not written.
// A full disk behind `> file` is one, and every byte up to there was written: process.stdout drops the
// rest of a short write to a file, so files are written here.
import { fstatSync, writeSync } from 'node:fs';
import { Latch } from '../segment/latch.ts';
import { CliError, Exit } from './command.ts';

const STDOUT = 1;
/** Those who wait for a slow stdout. */
const drained = new Latch();
let gone = false;
let failure: Error | null = null;
let isFile: boolean | null = null;

/** To be called once, before anything is written. Errors of stderr are nobody's business. */
export function watchOutput(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    gone = true;
    if (error.code !== 'EPIPE') failure ??= error;
    goOn();
  });
  process.stdout.on('drain', goOn);
  process.stdout.on('close', goOn);
  process.stderr.on('error', () => undefined);
}

function goOn(): void {
  drained.release();
}

/** Nobody reads any more, or nothing can be written any more. */
export function isStdoutGone(): boolean {
  return gone;
}

/** Throws CliError when something that was written did not arrive, other than for want of a reader. */
export function checkStdout(): void {
  if (failure !== null) throw new CliError(`cannot write to stdout: ${failure.message}`, Exit.failed, { cause: failure });
}

/** Writes, and when stdout is slow returns a promise to wait for. */
export function writeStdout(bytes: Buffer | string): Promise<void> | null {
  if (gone) return null;
  isFile ??= isRegularFile();
  if (isFile) {
    writeFully(typeof bytes === 'string' ? Buffer.from(bytes) : bytes);
    return null;
  }
  if (process.stdout.write(bytes)) return null;
  return drained.wait();
}

/** One JSON line. */
export function printJson(value: unknown): void {
  void writeStdout(`${JSON.stringify(value)}\n`);
}

function writeFully(bytes: Buffer): void {
  try {
    for (let written = 0; written < bytes.length; ) written += writeSync(STDOUT, bytes, written);
  } catch (error) {
    gone = true;
    failure ??= error as Error;
  }
}

function isRegularFile(): boolean {
  try {
    return fstatSync(STDOUT).isFile();
  } catch {
    return false;
  }
}
