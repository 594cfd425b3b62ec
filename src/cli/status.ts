// `sidelog status`: asks the server's /status over HTTP on the same port and shows it to a person,
// or as JSON.
import { request as httpRequest } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { RequestOptions } from 'node:https';
import { isIP } from 'node:net';
import { parseAddress } from '../wire/client/address.ts';
import type { ConnectOptions } from '../wire/client/client.ts';
import { formatSize } from '../units.ts';
import { CliError, Exit } from './command.ts';
import type { Command } from './command.ts';
import { CONNECTION_OPTIONS, connectOptions } from './connection.ts';
import { printJson, writeStdout } from './stdout.ts';

const TIMEOUT_MS = 5000;
const ANSWER_SIZE_MAX = 4 * 1024 * 1024;

/** What the server answers; fields this version does not know are shown with --json. */
export interface Status {
  readonly node: string;
  readonly version: string;
  readonly address: string;
  readonly ready: boolean;
  readonly uptimeSeconds: number;
  readonly runtime: string;
  readonly indexBackend: string;
  readonly threadPool: number;
  readonly connections: number;
  readonly logs: number;
  readonly bytes: number;
  readonly freeBytes: number;
  readonly reserveBytes: number;
  readonly storageFull: boolean;
  readonly clockSuspect: boolean;
  readonly stopped: readonly { readonly log: string; readonly reason: string }[];
}

export const statusCommand: Command = {
  name: 'status',
  operands: '',
  summary: 'show how a server is doing',
  arity: [0, 0],
  options: { json: { type: 'boolean', help: 'the whole answer as JSON' }, ...CONNECTION_OPTIONS },
  details: 'Exits 1 when the server is not ready or a log has stopped.',
  async run({ values }) {
    const status = await fetchStatus(connectOptions(values));
    if (values['json'] === true) printJson(status);
    else void writeStdout(describe(status));
    return status.ready && status.stopped.length === 0 ? Exit.ok : Exit.failed;
  },
};

function describe(status: Status): string {
  const rows: [string, string][] = [
    ['node', `${status.node}, sidelog ${status.version} on Node ${status.runtime}, up ${Math.round(status.uptimeSeconds)} s`],
    ['address', status.address],
    ['state', status.ready ? 'ready' : 'not ready'],
    ['logs', `${status.logs}, ${formatSize(status.bytes)}`],
    ['disk', `${formatSize(status.freeBytes)} free, ${formatSize(status.reserveBytes)} kept in reserve${status.storageFull ? ': FULL, records are refused' : ''}`],
    ['connections', String(status.connections)],
    ['index backend', status.indexBackend],
    ['thread pool', String(status.threadPool)],
    ...(status.clockSuspect ? [['clock', 'jumped: retention by age is suspended'] as [string, string]] : []),
    ...status.stopped.map(({ log, reason }): [string, string] => ['stopped', `${log}: ${reason}`]),
  ];
  return rows.map(([name, value]) => `${name.padEnd(15)}${value}\n`).join('');
}

async function fetchStatus(connect: ConnectOptions): Promise<Status> {
  const { address } = connect;
  const { status, body } = await get(requestOptions(connect), connect);
  if (status !== 200) throw new CliError(`${address} answered ${status}: ${body.trim()}`);
  try {
    return JSON.parse(body) as Status;
  } catch {
    throw new CliError(`${address} did not answer like a sidelog server`, Exit.unreachable);
  }
}

function requestOptions({ address, tls }: ConnectOptions): RequestOptions {
  const target = parseAddress(address);
  const host = target.kind === 'tcp' ? target.host : 'localhost';
  const where = target.kind === 'tcp' ? { host, port: target.port } : { socketPath: target.path };
  const settings = tls === undefined || tls === true ? {} : tls;
  // Said outright: left out, node:https would take the name to verify from the Host header. An address
  // is verified too (as `host`), but must not be sent as a server name.
  const servername = settings.servername ?? (isIP(host) === 0 ? host : '');
  return { path: '/status', timeout: TIMEOUT_MS, agent: false, headers: { host: 'localhost' }, ...where, ...settings, servername };
}

function get(options: RequestOptions, { address, tls }: ConnectOptions): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      const message = error.message === '' ? String((error as NodeJS.ErrnoException).code) : error.message;
      reject(new CliError(`cannot reach a sidelog server at ${address}: ${message}`, Exit.unreachable, { cause: error }));
    };
    const take = (response: IncomingMessage): void => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        body += chunk;
        if (body.length > ANSWER_SIZE_MAX) request.destroy(new Error('the answer is too large'));
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      response.on('error', fail);
    };
    const request = tls === undefined ? httpRequest(options, take) : httpsRequest(options, take);
    request.on('timeout', () => request.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
    request.on('error', fail);
    request.end();
  });
}
