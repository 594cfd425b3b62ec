// A listener in front of a server that speaks TLS itself, in one wrong way, and passes what is inside
// to the server's plaintext port: mutants for the cases about TLS and ALPN.
import * as net from 'node:net';
import * as tls from 'node:tls';
import type { Endpoint } from '../net/conn.ts';

export interface TlsProxy {
  readonly port: number;
  close(): Promise<void>;
}

interface Flaw {
  readonly what: string;
  readonly options?: tls.TlsOptions;
  readonly refuseTls?: true;
  readonly refusePlain?: true;
  /** Whatever ALPN said, anything may be inside. */
  readonly insideAny?: true;
  readonly needsAlpn?: true;
  readonly dropAfter?: number;
  readonly dieOnError?: true;
}

const pick = (choose: (names: string[]) => string | undefined): tls.TlsOptions => ({ ALPNCallback: ({ protocols }) => choose(protocols) });
const right = (names: string[]): string | undefined => ['sidelog/1', 'http/1.1'].find((name) => names.includes(name));

export const tlsFlaws: Readonly<Record<string, Flaw>> = {
  refuse: { what: 'takes no TLS', refuseTls: true },
  'plain-refused': { what: 'takes nothing but TLS', refusePlain: true },
  'no-alpn': { what: 'selects no ALPN name', options: {} },
  'alpn-http-first': { what: 'prefers http/1.1', options: pick((names) => ['http/1.1', 'sidelog/1'].find((name) => names.includes(name))) },
  'alpn-lenient': { what: 'selects any ALPN name', options: pick((names) => right(names) ?? names[0]) },
  'alpn-required': { what: 'takes no TLS without ALPN', options: pick(right), needsAlpn: true },
  'inside-any': { what: 'looks at the first byte inside whatever ALPN said', options: pick(right), insideAny: true },
  'old-versions': { what: 'takes TLS 1.0 and 1.1', options: { ...pick(right), minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' } },
  'only-1.2': { what: 'takes TLS 1.2 alone', options: { ...pick(right), maxVersion: 'TLSv1.2' } },
  'drops-late': { what: 'loses the connection after 64 KiB', options: pick(right), dropAfter: 64 * 1024 },
  'die-on-broken-handshake': { what: 'ends all connections when a handshake breaks', options: pick(right), dieOnError: true },
};

export async function serveTls(name: string, target: Endpoint, identity: { cert: Buffer; key: Buffer }): Promise<TlsProxy> {
  const flaw = tlsFlaws[name];
  if (flaw === undefined) throw new Error(`tls:${name}: no such mutation`);
  const sockets = new Set<net.Socket>();
  const endAll = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const pass = (client: net.Socket | tls.TLSSocket, first: Buffer): void => {
    const upstream = net.connect({ host: target.host, port: target.port, allowHalfOpen: true });
    sockets.add(upstream);
    let seen = first.length;
    upstream.write(first);
    client.on('data', (chunk: Buffer) => {
      seen += chunk.length;
      if (flaw.dropAfter !== undefined && seen > flaw.dropAfter) endAll();
      else upstream.write(chunk);
    });
    client.on('end', () => upstream.end());
    upstream.on('data', (chunk: Buffer) => void (client.writable && client.write(chunk)));
    upstream.on('end', () => client.end());
    for (const [one, other] of [[client, upstream], [upstream, client]] as const) {
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
    client.resume();
  };
  const secure = tls.createServer({ ...identity, ...flaw.options }, (socket) => {
    socket.on('error', () => socket.destroy());
    if (flaw.needsAlpn && !socket.alpnProtocol) return void socket.destroy();
    socket.once('data', (first: Buffer) => {
      socket.pause();
      const isPreface = first[0] === 0xfa;
      const fits = flaw.insideAny || (socket.alpnProtocol === 'sidelog/1' ? isPreface : socket.alpnProtocol === 'http/1.1' ? !isPreface : first[0] !== 0x16);
      if (fits) pass(socket, first);
      else socket.destroy();
    });
  });
  secure.on('tlsClientError', (_error, socket) => {
    socket.destroy();
    if (flaw.dieOnError) endAll();
  });
  const listener = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
    socket.once('readable', () => {
      const first = socket.read(1) as Buffer | null;
      if (first === null) return void socket.destroy();
      socket.unshift(first);
      if (first[0] === 0x16 && !flaw.refuseTls) secure.emit('connection', socket);
      else if (first[0] === 0x16 || flaw.refusePlain) socket.destroy();
      else pass(socket, socket.read() as Buffer);
    });
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  return {
    port: (listener.address() as net.AddressInfo).port,
    async close() {
      endAll();
      await new Promise<void>((resolve) => listener.close(() => resolve()));
    },
  };
}
