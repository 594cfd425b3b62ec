// Majority arithmetic: pure functions over numbers, compared with a dumb model in the tests.
//
// An empty set of voters has no majority: nothing is ever committed or won with it.

export type VoteResult = 'won' | 'lost' | 'pending';

/** The smallest number of voters such that any two sets of that size overlap. */
export function majority(voterCount: number): number {
  return Math.floor(voterCount / 2) + 1;
}

export function voteResult(granted: number, refused: number, voterCount: number): VoteResult {
  if (granted >= majority(voterCount)) return 'won';
  // Lost as soon as those who may still answer cannot make a majority.
  if (voterCount - refused < majority(voterCount)) return 'lost';
  return 'pending';
}

/**
 * The highest value that a majority of `values[0 … count − 1]` has reached (0 when there is none).
 * Sorts the given scratch space in place; the caller owns it and fills it anew each time.
 */
export function reachedByMajority(values: number[], count: number): number {
  if (count === 0) return 0;
  // Insertion sort, descending: there are at most a handful of voters, and this allocates nothing.
  for (let i = 1; i < count; i++) {
    const value = values[i]!;
    let at = i;
    while (at > 0 && values[at - 1]! < value) {
      values[at] = values[at - 1]!;
      at--;
    }
    values[at] = value;
  }
  return values[majority(count) - 1]!;
}
