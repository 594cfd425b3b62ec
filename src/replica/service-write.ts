// INIT_PRODUCER, FENCE, TRIM and PUT_POSITION: from the payload to the log's writes.
import type { Reader } from '../wire/bytes.ts';
import { Op } from '../wire/ops.ts';
import { trimRequest } from '../wire/requests-admin.ts';
import { putPositionRequest } from '../wire/requests-read.ts';
import { fenceRequest, initProducerRequest } from '../wire/requests-write.ts';
import { ColdError } from '../segment/lookup.ts';
import type { Client } from './client.ts';
import type { LogReplica } from './log-replica.ts';
import type { NodeService } from './service.ts';

/** False when `op` is none of these. Throws ProtocolError for a wrong payload. */
export function executeWrite(service: NodeService, client: Client, op: Op, id: number, payload: Reader): boolean {
  const { session } = client;
  switch (op) {
    case Op.INIT_PRODUCER: {
      const { log, name, logUid } = initProducerRequest.read(payload);
      const known = logUid !== undefined;
      service.withLog(client, op, id, log, logUid, 'produce', (replica, { deadlineMs }) => {
        replica.writes.initProducer(session, id, name, known ? null : replica.uid, deadlineMs);
      });
      return true;
    }
    case Op.FENCE: {
      const { log, token, logUid } = fenceRequest.read(payload);
      const known = logUid !== undefined;
      service.withLog(client, op, id, log, logUid, 'produce', (replica, { deadlineMs }) => {
        replica.writes.fence(session, id, token, known ? null : replica.uid, deadlineMs);
      });
      return true;
    }
    case Op.TRIM: {
      const { log, offset, logUid } = trimRequest.read(payload);
      service.withLog(client, op, id, log, logUid, 'manage', (replica, { deadlineMs }) => {
        trim(client, replica, id, offset, deadlineMs);
      });
      return true;
    }
    case Op.PUT_POSITION: {
      const { log, name, offset, expected, logUid } = putPositionRequest.read(payload);
      service.withLog(client, op, id, log, logUid, 'consume', (replica, { deadlineMs }) => {
        replica.writes.putPosition(session, id, name, offset, expected, deadlineMs);
      });
      return true;
    }
    default:
      return false;
  }
}

function trim(client: Client, log: LogReplica, id: number, offset: number, deadlineMs: number): void {
  // It may have been deleted while its files were opened.
  if (log.readRefusal !== 0) return client.fail(id, Op.TRIM, log.readRefusal, {});
  try {
    log.writes.trim(client.session, id, offset, deadlineMs);
  } catch (error) {
    if (!(error instanceof ColdError)) throw error;
    log.pin();
    error.load().then(
      () => {
        log.unpin();
        trim(client, log, id, offset, deadlineMs);
      },
      (failure: unknown) => {
        log.unpin();
        if (log.readRefusal !== 0) return client.fail(id, Op.TRIM, log.readRefusal, {});
        const { code, options } = log.readFailure(failure);
        client.fail(id, Op.TRIM, code, options);
      },
    );
  }
}
