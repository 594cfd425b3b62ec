// What a codec is asked about the vectors, and whether its answer is right. Pure; the process that
// answers belongs to cli/vectors.ts.
import { files } from './rows.ts';
import type { Row } from './rows.ts';

export interface Question {
  readonly line: { readonly do: 'decode' | 'encode'; readonly id: string; readonly kind: string; readonly hex?: string; readonly fields?: unknown };
  readonly row: Row;
}

export type RowVerdict =
  | { readonly status: 'pass' }
  | { readonly status: 'skip'; readonly why: string }
  | { readonly status: 'fail'; readonly expected: unknown; readonly actual: unknown };

/** Every row whose bytes alone tell what it is; the valid ones also the other way round. */
export function questions(): Question[] {
  const rows = [...files.frames.rows, ...files.errors.rows, ...files.batches.rows, ...files.negatives.rows.filter(({ expect }) => expect?.seen_by === 'codec')];
  const decode = rows.map((row): Question => ({ line: { do: 'decode', id: row.id, kind: row.kind, hex: row.hex }, row }));
  const valid = rows.filter(({ fields }) => fields !== undefined);
  return [...decode, ...valid.map((row): Question => ({ line: { do: 'encode', id: row.id, kind: row.kind, fields: row.fields }, row }))];
}

export function checkRow({ line, row }: Question, answer: Readonly<Record<string, unknown>>): RowVerdict {
  const { n: _n, ...actual } = answer;
  if (typeof answer['skip'] === 'string') return { status: 'skip', why: answer['skip'] };
  if (line.do === 'encode') return answer['hex'] === row.hex ? { status: 'pass' } : { status: 'fail', expected: { hex: row.hex }, actual };
  const error = errorOf(row);
  if (row.fields !== undefined && sorted(answer['fields']) === sorted(row.fields)) return { status: 'pass' };
  if (error === undefined) return { status: 'fail', expected: { fields: row.fields }, actual };
  const expected = { error: error ?? '(any)', ...(row.expect?.field ? { field: row.expect.field } : {}) };
  const isRight = 'error' in answer && (error === null || answer['error'] === error) && (row.expect?.field === undefined || (answer['field'] ?? row.expect.field) === row.expect.field);
  return isRight ? { status: 'pass' } : { status: 'fail', expected, actual };
}

/** The error that decoding this row must give: null = whichever, undefined = none. */
function errorOf({ kind, fields, expect }: Row): string | null | undefined {
  if (kind === 'batch') {
    const said = expect?.reader ?? expect?.produce;
    return said === 'OK' ? undefined : said;
  }
  if (fields !== undefined) return undefined;
  return expect?.to === 'client' ? null : (expect?.error ?? null);
}

function sorted(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner) ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))) : inner);
}
