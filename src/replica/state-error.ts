// The one error of the replicated state: a committed entry or a stored snapshot that this code
// cannot take. The replica must stop serving and say why; it must never guess and go on, because
// every other replica would have to guess the same.

/**
 * `UNKNOWN_CONTROL`: a control entry of a type this version does not know (written by a newer one).
 * `BAD_CONTROL`: a known type whose body is broken. `BAD_ENTRY`: an entry that the state it meets
 * does not allow (the log and this state disagree). `BAD_SNAPSHOT`: damaged, foreign or too new.
 */
export type StateErrorCode = 'UNKNOWN_CONTROL' | 'BAD_CONTROL' | 'BAD_ENTRY' | 'BAD_SNAPSHOT';

/** Thrown before anything was changed: the state is still that of the entry before. */
export class StateError extends Error {
  override name = 'StateError';
  readonly code: StateErrorCode;

  constructor(code: StateErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
