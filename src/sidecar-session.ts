// What a session is told about its connection: the limits from the settings, and who is at the other
// end as far as the way it came says so.
import type { Settings } from './config.ts';
import type { Transport } from './tls/listener.ts';
import { isLoopback } from './units.ts';
import { ErrorCode } from './wire/errors.ts';
import { SUBSCRIPTIONS_DEFAULT, WAITS_DEFAULT } from './wire/limits.ts';
import type { Identity, SessionConfig } from './wire/session/ports.ts';

declare const __SIDELOG_VERSION__: string;

/** `refuse`: the code to refuse the connection with, or 0. */
export function sessionConfig(
  settings: Settings, node: { nodeName: string; clusterId: Buffer }, transport: Transport, refuse: ErrorCode | 0,
): SessionConfig {
  const needsTls = !transport.encrypted && !transport.local && !settings.allowPlaintext;
  const refusal = needsTls ? ErrorCode.TLS_REQUIRED : refuse;
  return {
    nodeName: node.nodeName,
    clusterId: node.clusterId,
    serverVersion: `sidelog/${__SIDELOG_VERSION__}`,
    maxFrame: settings.maxFrame,
    maxBatch: settings.maxBatch,
    maxInflight: settings.maxInflight,
    maxWaits: WAITS_DEFAULT,
    maxSubscriptions: SUBSCRIPTIONS_DEFAULT,
    idleMs: settings.idle,
    authRequired: false,
    authMechs: [],
    authenticate: () => null,
    loopback: transport.local,
    graceMs: settings.shutdownGrace,
    ...(refusal === 0 ? {} : { refuse: refusal }),
  };
}

/** Whoever reaches the loopback listener is `local`; admin rights only where nobody else can reach it. */
export function identityOf(settings: Settings, transport: Transport): Identity {
  if (transport.local) return { name: 'local', mechanism: 'local', admin: isLoopback(settings.listen.host) };
  return { name: 'anonymous', mechanism: 'anonymous', admin: false };
}
