export async function mockCommand(_argv: readonly string[]): Promise<number> { return 0; }
