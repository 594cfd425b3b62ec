// Where to connect: parses an address and opens the socket for it (TCP, TLS, Unix socket).
import { connect as connectTcp, isIP } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { TlsOptions } from './types.ts';

const ALPN_NAME = 'sidelog/1';

export type Target =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

/** @throws TypeError when the address is none of the accepted forms. */
export function parseAddress(address: string): Target {
  if (address.startsWith('unix:') && address.length > 5) return { kind: 'unix', path: address.slice(5) };
  if (address.startsWith('/')) return { kind: 'unix', path: address };
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(address);
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65_535) {
    throw new TypeError(`address "${address}" is not accepted; expected HOST:PORT, [IPV6]:PORT, unix:PATH or /PATH`);
  }
  return { kind: 'tcp', host: match[1] ?? match[2]!, port };
}

/** True where plaintext cannot be read by others: a token may be sent there without TLS. */
export function isLocal(target: Target): boolean {
  if (target.kind === 'unix') return true;
  const host = target.host.toLowerCase().replace(/^::ffff:/, '');
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** Opens a socket; `connected` is called when bytes can go, after the TLS handshake where there is one. */
export function openSocket(target: Target, tls: TlsOptions | undefined, connected: () => void): Socket {
  if (tls === undefined) {
    const socket =
      target.kind === 'unix'
        ? connectTcp({ path: target.path })
        : connectTcp({ host: target.host, port: target.port, noDelay: true });
    socket.once('connect', connected);
    return socket;
  }
  const where = target.kind === 'unix' ? { path: target.path } : { host: target.host, port: target.port };
  // An address is verified as such, but must not be sent as a server name (RFC 6066 §3).
  const name = tls.servername ?? (target.kind === 'tcp' && isIP(target.host) === 0 ? target.host : undefined);
  const socket = connectTls({
    ...where,
    ca: tls.ca,
    cert: tls.cert,
    key: tls.key,
    ...(name === undefined ? {} : { servername: name }),
    ALPNProtocols: [ALPN_NAME],
    minVersion: 'TLSv1.2',
    rejectUnauthorized: true,
  });
  socket.setNoDelay(true);
  socket.once('secureConnect', connected);
  return socket;
}
