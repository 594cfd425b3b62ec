// Which codec reads the payload of which frame: for tests that go over every op.
import type { Reader } from '../../src/wire/bytes.ts';
import { goAway } from '../../src/wire/error-body.ts';
import type { Layout } from '../../src/wire/layout.ts';
import { Op } from '../../src/wire/ops.ts';
import * as admin from '../../src/wire/requests-admin.ts';
import * as read from '../../src/wire/requests-read.ts';
import * as session from '../../src/wire/requests-session.ts';
import * as write from '../../src/wire/requests-write.ts';
import * as adminAnswers from '../../src/wire/responses-admin.ts';
import * as dataAnswers from '../../src/wire/responses-data.ts';

export type AnyCodec = { write: Layout<any>['write']; read(r: Reader): any };

export const REQUEST_CODECS: Record<number, AnyCodec> = {
  [Op.HELLO]: session.helloRequest,
  [Op.AUTH]: session.authRequest,
  [Op.PING]: session.ping,
  [Op.GOAWAY]: goAway,
  [Op.CANCEL]: session.cancelRequest,
  [Op.CREDIT]: session.creditRequest,
  [Op.DESCRIBE_CLUSTER]: admin.describeClusterRequest,
  [Op.CREATE_LOG]: admin.createLogRequest,
  [Op.DELETE_LOG]: admin.deleteLogRequest,
  [Op.DESCRIBE_LOG]: admin.describeLogRequest,
  [Op.LIST_LOGS]: admin.listLogsRequest,
  [Op.TRIM]: admin.trimRequest,
  [Op.ALTER_LOG]: admin.alterLogRequest,
  [Op.TRANSFER_LEADER]: admin.transferLeaderRequest,
  [Op.REMOVE_NODE]: admin.removeNodeRequest,
  [Op.PRODUCE]: write.produceRequest,
  [Op.INIT_PRODUCER]: write.initProducerRequest,
  [Op.FENCE]: write.fenceRequest,
  [Op.FETCH]: read.fetchRequest,
  [Op.SUBSCRIBE]: read.subscribeRequest,
  [Op.FIND_OFFSET]: read.findOffsetRequest,
  [Op.PUT_POSITION]: read.putPositionRequest,
  [Op.GET_POSITION]: read.getPositionRequest,
  [Op.LIST_POSITIONS]: read.listPositionsRequest,
};

export const RESPONSE_CODECS: Record<number, AnyCodec> = {
  [Op.HELLO]: session.helloResponse,
  [Op.AUTH]: session.authResponse,
  [Op.PING]: session.ping,
  [Op.DESCRIBE_CLUSTER]: adminAnswers.describeClusterResponse,
  [Op.CREATE_LOG]: adminAnswers.createLogResponse,
  [Op.DELETE_LOG]: adminAnswers.emptyResponse,
  [Op.DESCRIBE_LOG]: adminAnswers.describeLogResponse,
  [Op.LIST_LOGS]: adminAnswers.listLogsResponse,
  [Op.TRIM]: adminAnswers.trimResponse,
  [Op.ALTER_LOG]: adminAnswers.emptyResponse,
  [Op.TRANSFER_LEADER]: adminAnswers.transferLeaderResponse,
  [Op.REMOVE_NODE]: adminAnswers.emptyResponse,
  [Op.PRODUCE]: dataAnswers.produceResponse,
  [Op.INIT_PRODUCER]: dataAnswers.initProducerResponse,
  [Op.FENCE]: dataAnswers.fenceResponse,
  [Op.FETCH]: dataAnswers.fetchResponse,
  [Op.SUBSCRIBE]: dataAnswers.subscribeResponse,
  [Op.DELIVER]: dataAnswers.deliver,
  [Op.FIND_OFFSET]: dataAnswers.findOffsetResponse,
  [Op.PUT_POSITION]: dataAnswers.putPositionResponse,
  [Op.GET_POSITION]: dataAnswers.getPositionResponse,
  [Op.LIST_POSITIONS]: dataAnswers.listPositionsResponse,
};
