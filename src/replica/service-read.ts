// FETCH, SUBSCRIBE, FIND_OFFSET, GET_POSITION and LIST_POSITIONS: from the payload to the log.
import type { Reader } from '../wire/bytes.ts';
import { ErrorCode } from '../wire/errors.ts';
import { SUBSCRIPTIONS_DEFAULT } from '../wire/limits.ts';
import { Op } from '../wire/ops.ts';
import { pagesOf } from '../wire/pages.ts';
import {
  fetchRequest, findOffsetRequest, getPositionRequest, listPositionsRequest, subscribeRequest,
} from '../wire/requests-read.ts';
import type { FetchRequest, SubscribeRequest } from '../wire/requests-read.ts';
import {
  findOffsetResponse, getPositionResponse, listPositionsResponse, positionInfo,
} from '../wire/responses-data.ts';
import type { Client } from './client.ts';
import { LinearizableRead } from './linearizable-read.ts';
import type { LogReplica } from './log-replica.ts';
import { offsetOfTime } from './read-start.ts';
import type { NodeService } from './service.ts';
import { Subscription, SUBSCRIBE_AFTER_MS } from './subscriptions.ts';
import { Fetch } from './waits.ts';

/** False when `op` is none of these. Throws ProtocolError for a wrong payload. */
export function executeRead(service: NodeService, client: Client, op: Op, id: number, payload: Reader): boolean {
  switch (op) {
    case Op.FETCH:
      fetch(service, client, id, fetchRequest.read(payload));
      return true;
    case Op.SUBSCRIBE:
      subscribe(service, client, id, subscribeRequest.read(payload));
      return true;
    case Op.FIND_OFFSET:
      find(service, client, id, payload);
      return true;
    case Op.GET_POSITION:
      getPosition(service, client, id, payload);
      return true;
    case Op.LIST_POSITIONS:
      listPositions(service, client, id, payload);
      return true;
    default:
      return false;
  }
}

function fetch(service: NodeService, client: Client, id: number, request: FetchRequest): void {
  const nowMs = service.parts.context.clock.monotonicMs();
  service.withLog(client, Op.FETCH, id, request.log, request.logUid, 'consume', (log) => {
    const read = new Fetch(client, log, id, request, nowMs);
    client.fetches.set(id, read);
    read.advance();
  });
}

function subscribe(service: NodeService, client: Client, id: number, request: SubscribeRequest): void {
  if (!client.session.toWaiting(id, 'subscription')) {
    return client.fail(id, Op.SUBSCRIBE, ErrorCode.TOO_MANY_INFLIGHT, { limit: SUBSCRIPTIONS_DEFAULT, message: 'too many subscriptions' });
  }
  const deadlineMs = service.parts.context.clock.monotonicMs() + SUBSCRIBE_AFTER_MS;
  service.withLog(client, Op.SUBSCRIBE, id, request.log, request.logUid, 'consume', (log, { extraCredit }) => {
    if (client.gone) return;
    if (client.session.draining) return client.fail(id, Op.SUBSCRIBE, ErrorCode.SHUTTING_DOWN, {});
    const credited = { ...request, creditBytes: request.creditBytes + extraCredit };
    const subscription = new Subscription(client, log, id, credited, deadlineMs);
    client.subscriptions.set(id, subscription);
    subscription.advance();
  });
}

function find(service: NodeService, client: Client, id: number, payload: Reader): void {
  const { log: name, time, logUid } = findOffsetRequest.read(payload);
  service.withLog(client, Op.FIND_OFFSET, id, name, logUid, 'consume', (log) => {
    log.pin();
    log.log.ask(() => offsetOfTime(log, time)).then(
      (offset) => {
        log.unpin();
        const { logStart, committedEnd } = log;
        client.session.reply(id, Op.FIND_OFFSET, (w) => findOffsetResponse.write(w, { offset, logStart, committedEnd }));
      },
      (error: unknown) => {
        log.unpin();
        // Its files may have gone under it with the log: what is wrong is that, not the disk.
        if (log.readRefusal !== 0) return client.fail(id, Op.FIND_OFFSET, log.readRefusal, {});
        const { code, options } = log.readFailure(error);
        client.fail(id, Op.FIND_OFFSET, code, options);
      },
    );
  });
}

function getPosition(service: NodeService, client: Client, id: number, payload: Reader): void {
  const { log: name, name: position, logUid } = getPositionRequest.read(payload);
  const known = logUid !== undefined;
  service.withLog(client, Op.GET_POSITION, id, name, logUid, 'consume', (log, { deadlineMs }) => {
    new LinearizableRead(client, log, Op.GET_POSITION, id, deadlineMs, () => {
      const offset = log.state.positions.get(position)?.offset;
      if (offset === undefined) return client.fail(id, Op.GET_POSITION, ErrorCode.POSITION_NOT_FOUND, {});
      const uid = known ? undefined : log.uid;
      client.session.reply(id, Op.GET_POSITION, (w) => getPositionResponse.write(w, { offset, logUid: uid }));
    }).advance();
  });
}

function listPositions(service: NodeService, client: Client, id: number, payload: Reader): void {
  const { log: name, logUid } = listPositionsRequest.read(payload);
  service.withLog(client, Op.LIST_POSITIONS, id, name, logUid, 'consume', (log, { deadlineMs }) => {
    new LinearizableRead(client, log, Op.LIST_POSITIONS, id, deadlineMs, () => sendPositions(client, log, id)).advance();
  });
}

function sendPositions(client: Client, log: LogReplica, id: number): void {
  const all = log.state.positions.list().map(({ name, offset, updatedMs }) => ({ name, offset, updated: updatedMs }));
  const pages = pagesOf(all, positionInfo, client.session.peerMaxFrame);
  pages.forEach((positions, i) => {
    client.session.reply(
      id, Op.LIST_POSITIONS, (w) => listPositionsResponse.write(w, { positions }), i < pages.length - 1,
    );
  });
}
