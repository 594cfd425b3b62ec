// Other files for an open replica: it is closed, they are put in place, and it is opened on them.
import type { SegmentedLog } from '../../segment/log.ts';

export interface Replacement {
  readonly kind: 'install' | 'repair';
  /** Nobody writes to the old log any more; it is still open. Rejects with DiskError or DamageError. */
  replace(old: SegmentedLog): Promise<void>;
  /** It is not wanted any more. Never rejects. */
  discard(): Promise<void>;
}
