// Makes sure that a server which dies does not pass. Beside every case a canary connection stays
// open: a crash, even one that a supervisor repairs at once, ends it. After every case a probe opens
// a new connection and writes and reads a record. One guard per worker.
import { batchOf } from '../wire/batch.ts';
import { Context } from './context.ts';
import type { RunState } from './context.ts';
import { Client } from '../net/client.ts';
import { Failure, HarnessError } from './failure.ts';
import { Prng } from './prng.ts';
import type { Trace } from '../net/trace.ts';

export class Guard {
  private readonly run: RunState;
  private own: Context;
  private canary: Client | null = null;
  /** By the start of the server that they were made after: a restarted server may have lost them, which is for the cases about durability. */
  private readonly probeLogs = new Map<number, string>();
  private readonly label: string;

  constructor(run: RunState, label: string) {
    this.run = run;
    this.label = label;
    this.own = this.fresh();
  }

  /** Opens the canary; its failure is the network's or the server's, so far not a case's. */
  async before(): Promise<void> {
    if (this.canary !== null && this.canary.conn.ended === null) return;
    await this.own.close();
    this.own = this.fresh();
    try {
      this.canary = await this.own.ready({ label: 'canary' });
    } catch (error) {
      if (!(error instanceof HarnessError) || !this.run.target.hooks.has('start')) throw error;
      // An earlier case has ended the process: the others are to be judged all the same.
      await (this.run.revival ??= this.own.start().finally(() => (this.run.revival = null)));
      this.canary = await this.own.ready({ label: 'canary' });
    }
  }

  /** @throws Failure when the canary or the server's service is gone. */
  async after(t: Context): Promise<void> {
    if (!t.disruptive) await this.checkCanary();
    else if (this.canary !== null) {
      this.canary.conn.destroy();
      this.canary = null;
    }
    await this.probe(t);
  }

  /** Deletes the logs of a case, as well as it can. */
  async cleanUp(logs: readonly string[]): Promise<void> {
    if (logs.length === 0) return;
    await this.before().catch(() => null);
    const canary = this.canary;
    if (canary === null || canary.conn.ended !== null) return;
    const ids = logs.map((log) => canary.request('DELETE_LOG', { log }));
    for (const id of ids) await canary.answer('DELETE_LOG', id).catch(() => null);
  }

  /** What canary and probe saw, and a fresh start for them. */
  takeTraces(): Trace[] {
    return this.own.conns.filter((conn) => conn.ended !== null).map((conn) => conn.trace);
  }

  async close(): Promise<void> {
    await this.cleanUp([...this.probeLogs.values()]);
    await this.own.close();
  }

  private async checkCanary(): Promise<void> {
    const pid = this.run.target.endpoints[0]!.pid;
    if (pid !== null && !alive(pid)) throw new Failure('after the case', 'the same process still there', `no process ${pid}`);
    try {
      await this.canary!.barrier();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      throw new Failure('after the case', 'a connection that was open all the time still answers PING', error.actual);
    }
  }

  /** HELLO, PRODUCE and FETCH on a new connection. */
  private async probe(t: Context): Promise<void> {
    const mark = `probe ${t.caseId} ${performance.now()}`;
    try {
      const client = await this.own.ready({ label: 'liveness probe' });
      const { starts } = this.run;
      const log = this.probeLogs.get(starts) ?? (await this.own.log(client, { log: `probe-${this.run.runId}-${this.label}-${starts}` }));
      this.probeLogs.set(starts, log);
      const ack = await client.ok('PRODUCE', { log, batch: batchOf(mark) });
      const read = await client.ok('FETCH', { log, value: ack.base_offset, max_bytes: 4096 });
      if (!read.batches.includes(Buffer.from(mark))) throw new Failure('the probe', 'the record that was just acked', 'a FETCH without it');
      client.conn.destroy();
      this.own.conns.splice(this.own.conns.indexOf(client.conn), 1);
    } catch (error) {
      if (!(error instanceof Failure || error instanceof HarnessError)) throw error;
      const actual = error instanceof Failure ? `${error.message}: ${error.actual}` : error.message;
      throw new Failure('after the case', 'a server that still takes connections, records and reads', actual);
    }
  }

  private fresh(): Context {
    return new Context(this.run, this.label, new Prng(this.run.seed));
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
