// A leader's own entries: proposals, the no-op of its term, configurations.
//
// Only ranges are counted here; the bytes are with the driver. Per turn there is one operation, not
// one per proposal: a proposal right behind another one in the same turn extends it.
import { assert } from '../wire/assert.ts';
import type { Configuration } from './config.ts';
import type { AppendOp, AppendSource } from './effects.ts';
import { stir } from './idle.ts';
import type { RaftState } from './state.ts';
import type { Index } from './types.ts';

type Growing = { -readonly [K in keyof AppendOp]: AppendOp[K] };

/** Appends `count` entries of the current term and returns the first one's index. */
export function appendOwn(
  s: RaftState,
  count: number,
  source: Exclude<AppendSource, 'leader'>,
  config: Configuration | null,
): Index {
  assert(s.role === 'leader', 'only a leader appends entries of its own');
  assert(count >= 1, 'an append adds entries');
  stir(s);
  const from = s.log.appendOwn(count, s.term);
  const to = s.log.lastIndex;
  s.verifiedIndex = to;
  const { log } = s.out;
  const last = log[log.length - 1];
  if (source === 'proposal' && extendsLast(s, last)) {
    (last as Growing).to = to;
    return from;
  }
  log.push({ kind: 'append', source, from, to, term: s.term, generation: s.log.generation, config, message: null });
  return from;
}

function extendsLast(s: RaftState, last: RaftState['out']['log'][number] | undefined): boolean {
  return (
    last !== undefined &&
    last.kind === 'append' &&
    last.source === 'proposal' &&
    last.term === s.term &&
    last.generation === s.log.generation
  );
}
