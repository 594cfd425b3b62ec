// The HTTP paths on sidelog's port: /livez and /readyz for orchestrators, /metrics for Prometheus,
// /status for `sidelog status`. Probes answer from anywhere and say nothing else; the rest is guarded against
// DNS rebinding (Host) and cross-site requests (Origin), because it listens on every developer's
// loopback.
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

export interface HttpPorts {
  /** `null` when ready, else why not (never shown to a client). */
  notReady(): string | null;
  /** The whole Prometheus text. */
  metrics(): string;
  /** What `sidelog status` shows: one JSON object. */
  status(): unknown;
  /** Did this connection come over loopback, the Unix socket or TLS? */
  isTrustedTransport(request: IncomingMessage): boolean;
  /** Host names (without port, lower case) besides loopback that requests may carry. */
  readonly hosts: ReadonlySet<string>;
  /** Serve /metrics and /status over plaintext from other hosts too. */
  readonly open: boolean;
}

const LOOPBACK_HOSTS = new Set(['localhost', '127.0.0.1', '[::1]', '::1']);

/** Makes the listener for the HTTP side of the port. */
export function createHttpHandler(ports: HttpPorts): RequestListener {
  return (request, response) => {
    // Nothing here takes a body; what a client sends is discarded within node:http's own limits.
    request.resume();
    const path = (request.url ?? '/').split('?', 1)[0];
    // A node that goes away keeps no connection open for the next request.
    if (ports.notReady() !== null) response.setHeader('Connection', 'close');
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD');
      return answer(response, 405, 'only GET and HEAD\n');
    }
    if (path === '/livez') return answer(response, 200, 'ok\n');
    if (path === '/readyz') {
      return ports.notReady() === null ? answer(response, 200, 'ok\n') : answer(response, 503, 'not ready\n');
    }
    if (!ports.open && !ports.isTrustedTransport(request)) {
      return answer(response, 403, 'this needs loopback, TLS or --http-open\n');
    }
    if (!hostAllowed(request.headers.host, ports.hosts)) {
      return answer(response, 421, 'this Host name is not configured; see --http-host\n');
    }
    if (!originAllowed(request.headers.origin, request.headers.host)) {
      return answer(response, 403, 'requests from other origins are refused\n');
    }
    if (path !== '/metrics' && path !== '/status') {
      return answer(response, 404, 'not found; there are /livez, /readyz, /metrics and /status\n');
    }
    if (path === '/status') return answer(response, 200, `${JSON.stringify(ports.status())}\n`, 'application/json');
    return answer(response, 200, ports.metrics(), 'text/plain; version=0.0.4; charset=utf-8');
  };
}

/** node:http hands CONNECT over with the bare socket. */
export function refuseConnect(socket: Duplex): void {
  socket.end('HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
}

function hostAllowed(host: string | undefined, configured: ReadonlySet<string>): boolean {
  if (host === undefined) return false;
  const name = host.toLowerCase().replace(/:\d+$/, '');
  return LOOPBACK_HOSTS.has(name) || configured.has(name);
}

/** Browsers send Origin with cross-site requests; only a page of this very host may ask. */
function originAllowed(origin: string | undefined, host: string | undefined): boolean {
  if (origin === undefined) return true;
  const match = /^https?:\/\/([^/]+)$/i.exec(origin);
  return match !== null && match[1]!.toLowerCase() === host?.toLowerCase();
}

function answer(response: ServerResponse, status: number, body: string, type = 'text/plain; charset=utf-8'): void {
  response.writeHead(status, {
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
  });
  response.end(body);
}
