// Every case of the suite, in the order in which reports show them.
import type { Case } from '../engine/case.ts';
import { alwaysCases } from './always.ts';
import { batchCases, recordCases } from './batches.ts';
import { expectedOffsetCases, fenceCases, positionCases } from './conditional.ts';
import { durabilityCases } from './durability.ts';
import { frameCases } from './frames.ts';
import { helloCases } from './hello.ts';
import { httpCases } from './http.ts';
import { idempotenceCases } from './idempotence.ts';
import { idleCases, stopCases } from './idle.ts';
import { listenerCases, peerCases, tlsCases } from './listener.ts';
import { logCases, trimCases } from './logs.ts';
import { extCases, payloadCases } from './payload.ts';
import { prefaceCases } from './preface.ts';
import { pressureCases } from './pressure.ts';
import { produceCases } from './produce.ts';
import { readCases } from './read.ts';
import { requestCases } from './requests.ts';
import { sessionCases } from './session.ts';
import { alterCases, nodeCases, retentionCases, trashCases } from './settings.ts';
import { streamingCases } from './streaming.ts';
import { vectorCases } from './vectors.ts';

export const allCases: readonly Case[] = [
  ...listenerCases, ...prefaceCases, ...frameCases, ...requestCases, ...helloCases, ...sessionCases, ...idleCases, ...pressureCases,
  ...payloadCases, ...extCases, ...vectorCases, ...logCases, ...trimCases, ...alterCases, ...trashCases, ...retentionCases, ...nodeCases,
  ...batchCases, ...recordCases, ...produceCases, ...readCases,
  ...idempotenceCases, ...expectedOffsetCases, ...fenceCases, ...positionCases, ...streamingCases,
  ...httpCases, ...tlsCases, ...peerCases, ...stopCases, ...durabilityCases, ...alwaysCases,
];
