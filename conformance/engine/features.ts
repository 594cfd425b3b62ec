// Finds out what a target offers: by the target file where it says so, else by asking with an op of
// the profile for a log that does not exist (an op that is not offered is UNKNOWN_OP).
import type { Need } from './case.ts';
import { Context } from './context.ts';
import type { RunState } from './context.ts';
import type { Client } from '../net/client.ts';
import { CRITICAL } from '../wire/layouts.ts';
import type { OpName } from '../wire/layouts.ts';
import { Prng } from './prng.ts';

const PROBES: Readonly<Record<string, OpName>> = {
  idempotence: 'INIT_PRODUCER', conditional: 'FENCE', streaming: 'SUBSCRIBE', 'transfer-leader': 'TRANSFER_LEADER', 'remove-node': 'REMOVE_NODE',
};
const NO_LOG = 'no-such-log-anywhere';

/** Returns what the server calls itself. */
export async function findFeatures(run: RunState): Promise<string> {
  const t = new Context(run, 'features', new Prng(run.seed));
  for (const [feature, on] of Object.entries(run.target.features)) if (on !== undefined) run.features.set(feature, on);
  if (!run.features.has('tls')) run.features.set('tls', run.target.tls !== null);
  const unknown = (feature: string): boolean => !run.features.has(feature);
  try {
    const client = await t.ready({ label: 'first contact' });
    for (const [feature, op] of Object.entries(PROBES)) if (unknown(feature)) run.features.set(feature, await offered(client, op));
    if (unknown('trash')) run.features.set('trash', await hasTrash(client));
    if (unknown('http')) run.features.set('http', await servesHttp(t));
    return client.hello.server;
  } finally {
    await t.close();
  }
}

async function offered(client: Client, op: OpName): Promise<boolean> {
  const input = op === 'REMOVE_NODE' ? { node: 'no-such-node' } : { log: NO_LOG, name: 'n' };
  const answer = await client.call(op, input as never);
  return answer.status !== 'UNKNOWN_OP';
}

async function hasTrash(client: Client): Promise<boolean> {
  const answer = await client.call('LIST_LOGS', { prefix: NO_LOG, ext: [{ type: CRITICAL | 3, value: Buffer.alloc(0) }] });
  return answer.status === 'OK';
}

async function servesHttp(t: Context): Promise<boolean> {
  const conn = await t.connect({ transport: t.target.plaintext ? 'plain' : 'tls', tls: { ALPNProtocols: ['http/1.1'] } });
  conn.write(Buffer.from('GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'));
  const head = await conn.takeRaw(5, 'an HTTP answer').catch(() => null);
  return head?.toString('latin1') === 'HTTP/';
}

/** Why a case cannot run on this target, null when it can. */
export function missing(run: RunState, need: Need): string | null {
  const { target } = run;
  const [kind, name] = need.split(':') as [string, string | undefined];
  switch (kind) {
    case 'feature': return run.features.get(name!) ? null : `the server does not offer ${name}`;
    case 'absent': return run.features.get(name!) ? `the server offers ${name}` : null;
    case 'hook': return target.hooks.has(name as 'start') ? null : `the target has no hook ${name}`;
    case 'limit': return target.limits[name!] !== undefined ? null : `the target file says no limits.${name}`;
    case 'tls': return target.tls ? null : 'the target file says nothing about TLS';
    case 'plaintext': return target.plaintext && run.transport === 'plain' ? null : 'plane C is not served without TLS here';
    case 'far': return target.far ? null : 'the target file has no far address';
    case 'pid': return target.endpoints[0]!.pid !== null ? null : 'the pid of the server is not known';
    case 'several-nodes': return target.endpoints.length > 1 ? null : 'the target is one node';
    default: throw new Error(`unknown need ${need}`);
  }
}
