// Between two mutants: makes sure that the server behind the proxy is as sound as at the beginning.
// What a mutant kept the suite from deleting is deleted; a server that does not serve any more would
// make every later mutant look caught, so that ends the selftest.
import { Client } from '../net/client.ts';
import { Conn } from '../net/conn.ts';
import type { Endpoint } from '../net/conn.ts';
import { batchOf } from '../wire/batch.ts';

const PATIENCE_MS = 20_000;
const KEPT = 'default';

/** @throws Failure or HarnessError when the server does not make, write, read and delete a log. */
export async function sweep(endpoint: Endpoint): Promise<void> {
  const conn = await Conn.dial(endpoint, { patienceMs: PATIENCE_MS, label: 'sweep' });
  try {
    const client = new Client(conn);
    await client.open();
    for (let more = true; more; ) {
      const id = client.request('LIST_LOGS', { prefix: '' });
      const names: string[] = [];
      for (let flags = 2; (flags & 2) !== 0; ) {
        const answer = await client.okAnswer('LIST_LOGS', id);
        names.push(...answer.fields.logs.map(({ log }) => log).filter((log) => log !== KEPT));
        flags = answer.frame.flags;
      }
      for (const log of names) await client.call('DELETE_LOG', { log });
      more = names.length > 0;
    }
    await client.ok('CREATE_LOG', { log: 'sweep', durability: 1 });
    await client.ok('PRODUCE', { log: 'sweep', batch: batchOf('sound') });
    await client.ok('FETCH', { log: 'sweep', from: 1, max_bytes: 1000 });
    await client.ok('DELETE_LOG', { log: 'sweep' });
  } finally {
    conn.destroy();
  }
}
