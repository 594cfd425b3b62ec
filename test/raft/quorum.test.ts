// Quorum arithmetic against a dumb model: for each candidate value, count who has reached it.
// Replay with SEED=n.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { majority, reachedByMajority, voteResult } from '../../src/raft/quorum.ts';
import { prng, seedOr } from './support/prng.ts';

const test = suite('raft/quorum');

test('a majority is more than half, and two majorities always overlap', () => {
  assert.equal([1, 2, 3, 4, 5, 6, 7].map(majority), [1, 2, 2, 3, 3, 4, 4]);
  for (let voters = 1; voters < 50; voters++) assert.ok(2 * majority(voters) > voters);
});

/** O(n²): the largest value that at least a majority of the voters has reached. */
function dumbCommitted(values: readonly number[]): number {
  let best = 0;
  for (const value of values) {
    const reached = values.filter((other) => other >= value).length;
    if (reached * 2 > values.length && value > best) best = value;
  }
  return best;
}

test('the committed index is the dumb model’s, in 20,000 random cases', () => {
  const seed = seedOr(20);
  const random = prng(seed);
  const scratch: number[] = [];
  for (let i = 0; i < 20_000; i++) {
    const count = random(8);
    const range = [2, 10, 2 ** 31][random(3)]!;
    const values = Array.from({ length: count }, () => random(range));
    // Rubbish behind the count must not matter.
    scratch.length = 0;
    scratch.push(...values, 2 ** 40);
    assert.is(reachedByMajority(scratch, count), dumbCommitted(values), `SEED=${seed} case ${i}: ${values}`);
  }
});

/** By brute force: would it be won if all others refused, or lost even if all others agreed? */
function dumbVote(granted: number, refused: number, voters: number): string {
  const undecided = voters - granted - refused;
  if (granted * 2 > voters) return 'won';
  if ((granted + undecided) * 2 <= voters) return 'lost';
  return 'pending';
}

test('the result of a vote is the dumb model’s, in all cases up to nine voters', () => {
  for (let voters = 1; voters <= 9; voters++) {
    for (let granted = 0; granted <= voters; granted++) {
      for (let refused = 0; granted + refused <= voters; refused++) {
        const expected = dumbVote(granted, refused, voters);
        assert.is(voteResult(granted, refused, voters), expected, `${granted}/${refused} of ${voters}`);
      }
    }
  }
});

test('nobody wins and nothing is committed without voters', () => {
  assert.is(voteResult(0, 0, 0), 'lost');
  assert.is(reachedByMajority([], 0), 0);
});

test.run();
