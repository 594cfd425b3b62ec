// `sidelog status`: asks the server's /status over HTTP on the same port and shows it to a person,
// or as JSON.
import { request as httpRequest } from 'node:http';
import type { RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { formatSize, parseAddress } from '../units.ts';
import { CliError, Exit } from './command.ts';
import type { Command, OptionValues } from './command.ts';
import { CONNECTION_OPTIONS, connectOptions, printJson } from './connection.ts';

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
    const status = await fetchStatus(values);
    if (values['json'] === true) printJson(status);
    else process.stdout.write(describe(status));
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

async function fetchStatus(values: OptionValues): Promise<Status> {
  const { address, tls } = connectOptions(values);
  const options: RequestOptions = { path: '/status', timeout: TIMEOUT_MS, headers: { host: 'localhost' }, ...target(address) };
  const { status, body } = await get(tls === undefined ? (done) => httpRequest(options, done) : (done) => httpsRequest({ ...options, ...(tls === true ? {} : tls) }, done), address);
  if (status !== 200) throw new CliError(`${address} answered ${status}: ${body.trim()}`);
  try {
    return JSON.parse(body) as Status;
  } catch {
    throw new CliError(`${address} did not answer like a sidelog server`, Exit.unreachable);
  }
}

function target(address: string): RequestOptions {
  if (address.startsWith('unix:')) return { socketPath: address.slice('unix:'.length) };
  if (address.startsWith('/')) return { socketPath: address };
  try {
    const { host, port } = parseAddress(address);
    return { host, port, servername: host } as RequestOptions;
  } catch (error) {
    throw new CliError(`--to: "${address}" is not accepted; expected ${(error as Error).message}`, Exit.usage);
  }
}

function get(
  start: (done: (response: import('node:http').IncomingMessage) => void) => import('node:http').ClientRequest, address: string,
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => reject(new CliError(`cannot reach a sidelog server at ${address}: ${error.message}`, Exit.unreachable, { cause: error }));
    const request = start((response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        body += chunk;
        if (body.length > ANSWER_SIZE_MAX) request.destroy(new Error('the answer is too large'));
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      response.on('error', fail);
    });
    request.on('timeout', () => request.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
    request.on('error', fail);
    request.end();
  });
}
