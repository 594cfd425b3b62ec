// The golden vectors as the suite holds them: the JSON files beside this one, and their README.
import { readFileSync } from 'node:fs';
import batches from './batches.json';
import errors from './errors.json';
import frames from './frames.json';
import negatives from './negatives.json';

declare const __VECTORS_README__: string | undefined;

export interface Expect {
  readonly error?: string | null;
  readonly field?: string;
  readonly produce?: string;
  readonly reader?: string;
  readonly how?: string;
  readonly state?: string;
  readonly to?: string;
  readonly seen_by?: string;
}

export interface Row {
  readonly id: string;
  readonly kind: string;
  readonly hex: string;
  readonly fields?: Readonly<Record<string, unknown>>;
  readonly expect?: Expect;
}

interface File {
  readonly schema: string;
  readonly rows: readonly Row[];
}

export const files = { frames, batches, negatives, errors } as unknown as Readonly<Record<'frames' | 'batches' | 'negatives' | 'errors', File>>;

export function readme(): string {
  return typeof __VECTORS_README__ === 'string' ? __VECTORS_README__ : readFileSync('conformance/vectors/README.md', 'utf8');
}
