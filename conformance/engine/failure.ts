// The ways in which a case ends other than by passing. A Failure is the target's fault, a Skip says
// which capability was missing, a HarnessError is ours or the network's: it is never a verdict.

export class Failure extends Error {
  override name = 'Failure';
  readonly expected: string;
  readonly actual: string;

  constructor(what: string, expected: string, actual: string) {
    super(what);
    this.expected = expected;
    this.actual = actual;
  }
}

export class Skip extends Error {
  override name = 'Skip';
  /** What the target would have to have: `hook:kill`, `feature:streaming`, `tls`, … */
  readonly capability: string;

  constructor(capability: string, reason: string) {
    super(reason);
    this.capability = capability;
  }
}

export class HarnessError extends Error {
  override name = 'HarnessError';
}

/** A value for people: bigint and bytes included, cut at 400 characters. */
export function show(value: unknown): string {
  const text = typeof value === 'string' ? JSON.stringify(value) : render(value);
  return text.length > 400 ? `${text.slice(0, 400)}…` : text;
}

function render(value: unknown): string {
  if (Buffer.isBuffer(value)) return value.length === 0 ? '(no bytes)' : value.toString('hex');
  if (typeof value === 'bigint') return value === 0xffff_ffff_ffff_ffffn ? 'NONE' : String(value);
  if (value === undefined) return 'nothing';
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner === 'bigint') return render(inner);
    if (inner !== null && typeof inner === 'object' && 'type' in inner && inner.type === 'Buffer' && 'data' in inner) {
      return Buffer.from(inner.data as number[]).toString('hex');
    }
    return inner;
  });
}
