export async function selftestCommand(_argv: readonly string[]): Promise<number> { return 0; }
