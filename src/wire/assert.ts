// Assertions that stay on in production: a broken invariant must stop the process (or the log)
// before it turns into a wrong answer. Bad input from a peer is never an assertion.

/** Thrown when the program's own invariants are broken; never caught to go on. */
export class InvariantError extends Error {
  override name = 'InvariantError';
}

/** Throws {@link InvariantError} with `message` unless `condition` holds. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}

/** For the default branch of an exhaustive switch. */
export function unreachable(value: never): never {
  throw new InvariantError(`unreachable value: ${String(value)}`);
}
