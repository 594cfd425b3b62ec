// Who may do what to which log: the question that the service asks before anything else. The answer
// belongs to the composition root; the default here allows all but changing the cluster.
import type { Identity } from '../wire/session/ports.ts';

/** `manage`: create, alter, delete, trim. `admin`: what concerns nodes. */
export type Action = 'describe' | 'produce' | 'consume' | 'manage' | 'admin';

export interface Policy {
  /** Changes whenever an answer may: answers are remembered per connection and version. */
  readonly version: number;
  /** `log` is '' when no log is concerned. */
  allows(identity: Identity, action: Action, log: string): boolean;
}

export const OPEN_POLICY: Policy = {
  version: 0,
  allows: (identity, action) => action !== 'admin' || identity.admin,
};
