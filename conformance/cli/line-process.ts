// A child process that answers each line with a line. One question at a time, so neither side can
// wait for the other to read.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { onExit } from '../engine/ending.ts';
import { HarnessError } from '../engine/failure.ts';

export class LineProcess {
  private readonly child: ChildProcess;
  private readonly patienceMs: number;
  private ended: string | null = null;
  private waiting: { resolve(line: string): void; reject(error: Error): void } | null = null;

  constructor(command: string, argv: readonly string[], patienceMs: number) {
    this.patienceMs = patienceMs;
    this.child = spawn(command, argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.child.once('exit', onExit(() => void this.child.kill()));
    this.child.once('error', (error) => this.over(`${command} cannot be run: ${error.message}`));
    this.child.once('exit', (code, signal) => this.over(`${command} ended with ${code ?? signal}`));
    this.child.stdin!.on('error', () => undefined); // its exit says more
    createInterface({ input: this.child.stdout! }).on('line', (line) => this.waiting?.resolve(line));
  }

  /** @throws HarnessError when the process is gone, too slow, or answers what is no JSON object. */
  async ask(question: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>> {
    if (this.ended !== null) throw new HarnessError(this.ended);
    let timer: NodeJS.Timeout | undefined;
    const line = await new Promise<string>((resolve, reject) => {
      this.waiting = { resolve, reject };
      timer = setTimeout(() => reject(new HarnessError(`no answer to ${JSON.stringify(question).slice(0, 200)} in ${this.patienceMs} ms`)), this.patienceMs);
      this.child.stdin!.write(`${JSON.stringify(question)}\n`);
    }).finally(() => clearTimeout(timer));
    let answer: unknown;
    try {
      answer = JSON.parse(line);
    } catch {
      throw new HarnessError(`the answer is no JSON: ${line.slice(0, 200)}`);
    }
    if (typeof answer !== 'object' || answer === null || (answer as { n?: unknown }).n !== question['n']) {
      throw new HarnessError(`the answer has not "n": ${String(question['n'])}: ${line.slice(0, 200)}`);
    }
    return answer as Record<string, unknown>;
  }

  end(): void {
    this.child.stdin!.end();
    this.child.kill();
  }

  private over(why: string): void {
    this.ended ??= why;
    this.waiting?.reject(new HarnessError(why));
  }
}
