// What a checker says when the world is wrong. `rule` is the number of an invariant (I1 … I13) or the
// name of a checker of histories; the message names what was seen and what should have been.

export class Violation extends Error {
  override name = 'Violation';
  readonly rule: string;

  constructor(rule: string, message: string, options?: ErrorOptions) {
    super(`${rule}: ${message}`, options);
    this.rule = rule;
  }
}

/** Throws a Violation unless `holds`. The message is made only then. */
export function demand(holds: boolean, rule: string, message: () => string): asserts holds {
  if (!holds) throw new Violation(rule, message());
}
