// The second implementation (conformance/second, Python) as a target: it offers less than ours, so
// that the cases about what a server lacks have somebody to be tried on.
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { onExit } from '../engine/ending.ts';
import { HarnessError } from '../engine/failure.ts';
import { NoHooks } from '../engine/hooks.ts';
import { parseTarget } from '../engine/target.ts';
import type { Target } from '../engine/target.ts';

const PROGRAM = 'conformance/second/server.py';
const READY_LIMIT_MS = 15_000;

export class SecondServer {
  private child: ChildProcess | null = null;
  port = 0;

  /** False where there is no Python or no second server. */
  static isThere(): boolean {
    return existsSync(PROGRAM) && spawnSync('python3', ['--version']).status === 0;
  }

  async start(): Promise<void> {
    const child = spawn('python3', [PROGRAM, '--port', '0'], { stdio: ['ignore', 'pipe', 'ignore'] });
    this.child = child;
    child.once('exit', onExit(() => void child.kill('SIGKILL')));
    this.port = await new Promise<number>((resolve, reject) => {
      let text = '';
      const timer = setTimeout(() => reject(new HarnessError('the second server did not become ready')), READY_LIMIT_MS);
      child.stdout.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        const port = /"port": (\d+)/.exec(text);
        if (port === null) return;
        clearTimeout(timer);
        resolve(Number(port[1]));
      });
      child.once('exit', (code) => reject(new HarnessError(`the second server ended with ${code}`)));
    });
  }

  target(port = this.port): Target {
    return parseTarget({
      schema: 'sidelog-target/1', name: 'second implementation (Python)', endpoints: [{ host: '127.0.0.1', port, pid: this.child?.pid ?? null }],
      features: {
        streaming: true, idempotence: false, conditional: false, http: false, tls: false, trash: false, 'transfer-leader': false, 'remove-node': false, peers: false,
      },
    }, process.cwd(), new NoHooks());
  }

  async stop(): Promise<void> {
    const { child } = this;
    this.child = null;
    if (child === null || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }
}
