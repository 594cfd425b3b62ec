// Shared by the client's tests.
import * as assert from 'uvu/assert';
import { connect, SidelogError } from '../../src/wire/client/client.ts';
import type { Client, ConnectOptions } from '../../src/wire/client/client.ts';
import { withServer } from './fake-server.ts';
import type { FakeServer } from './fake-server.ts';

/** Pauses so short that no test notices them. */
export const FAST = { backoff: { minMs: 1, maxMs: 5 } };

export async function withClient(
  use: (client: Client, server: FakeServer) => Promise<void>,
  options: Partial<ConnectOptions> = {},
): Promise<void> {
  await withServer(async (server) => {
    const client = await connect({ address: server.address, ...FAST, ...options });
    try {
      await use(client, server);
    } finally {
      await client.close();
    }
  });
}

/** The SidelogError that a promise must reject with. */
export async function errorOf(promise: Promise<unknown>): Promise<SidelogError> {
  try {
    await promise;
  } catch (error) {
    assert.instance(error, SidelogError, String(error));
    return error as SidelogError;
  }
  throw new Error('it should have failed');
}

export const value = (text: string): { value: Buffer } => ({ value: Buffer.from(text) });

/** Lets everything that is ready in this process happen: a turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
