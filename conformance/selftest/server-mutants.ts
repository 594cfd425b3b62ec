// Named faults of our server (mutants)
export interface ServerMutant {
  readonly name: string;
  readonly what: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export const serverMutants: readonly ServerMutant[] = [];
