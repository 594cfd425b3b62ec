// Why a group takes no requests that need its leader, in a code and in words.
import type { RaftDriver } from '../raft/driver/driver.ts';
import { NOBODY } from '../raft/types.ts';
import { ErrorCode } from '../wire/errors.ts';

export interface Refusal {
  readonly code: ErrorCode | 0;
  readonly message: string;
}

export const OPEN: Refusal = { code: 0, message: '' };
const FULL: Refusal = { code: ErrorCode.STORAGE_FULL, message: 'the disk is full' };
const ELSEWHERE: Refusal = { code: ErrorCode.NOT_LEADER, message: 'another node leads this log' };
const NOWHERE: Refusal = { code: ErrorCode.NO_LEADER, message: 'nobody leads this log at the moment' };

/** `stopped`: why this replica makes nothing durable any more, '' = it does. */
export function refusalOf(driver: RaftDriver, stopped: string, diskFull: boolean): Refusal {
  const { node, soleVoter } = driver;
  if (node.role !== 'leader' && node.leader !== NOBODY) return ELSEWHERE;
  // Where no other voter can lead, waiting for one would be in vain (DESIGN §3).
  if (stopped !== '' && soleVoter) return { code: ErrorCode.LOG_STOPPED, message: stopped };
  return diskFull && soleVoter ? FULL : NOWHERE;
}
