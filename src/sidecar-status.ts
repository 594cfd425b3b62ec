// What `sidelog status` and /metrics are made from: a look at the running node, taken when asked.
import type { Settings } from './config.ts';
import type { Status } from './cli/status.ts';
import type { Node } from './replica/node.ts';
import { figuresOf } from './replica/log-slot.ts';
import type { LogSlot } from './replica/log-slot.ts';
import { ErrorCode } from './wire/errors.ts';
import type { Listener } from './tls/listener.ts';

export interface SidecarFacts {
  readonly settings: Settings;
  readonly node: Node;
  readonly listener: Listener;
  readonly threadPool: number;
  readonly indexBackend: 'mmap' | 'mirror';
  readonly version: string;
  readonly address: string;
  readonly uptimeSeconds: number;
  readonly ready: boolean;
}

/** Bytes of a log as far as they are known without opening it. */
export function slotBytes(slot: LogSlot): number {
  return (slot.replica === null ? slot.figures : figuresOf(slot.replica))?.bytes ?? 0;
}

export function nodeStatus(facts: SidecarFacts): Status {
  const { node, settings, listener } = facts;
  const { space, clock } = node.context;
  const slots = node.logs.list('');
  return {
    node: settings.nodeName,
    version: facts.version,
    address: facts.address,
    ready: facts.ready,
    uptimeSeconds: facts.uptimeSeconds,
    runtime: process.version,
    indexBackend: facts.indexBackend,
    threadPool: facts.threadPool,
    connections: listener.connectionCount,
    logs: slots.length,
    bytes: slots.reduce((sum, slot) => sum + slotBytes(slot), 0),
    freeBytes: space.freeBytes,
    reserveBytes: space.reserveBytes,
    storageFull: space.full,
    clockSuspect: clock.suspect,
    stopped: stoppedLogs(node),
  };
}

/** Logs that take no records, by name; those that are not served at all by the folder they lie in. */
export function stoppedLogs({ logs }: Node): { log: string; reason: string }[] {
  const leftOut = [...logs.leftOut].map(([log, reason]) => ({ log, reason }));
  return [...logs.list('').flatMap(stoppedReason), ...leftOut];
}

function stoppedReason(slot: LogSlot): { log: string; reason: string }[] {
  if (slot.failure !== '') return [{ log: slot.name, reason: slot.failure }];
  const group = slot.replica?.group;
  if (group === undefined || group.refusal !== ErrorCode.LOG_STOPPED) return [];
  return [{ log: slot.name, reason: group.refusalMessage }];
}
