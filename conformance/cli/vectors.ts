export async function vectorsCommand(_argv: readonly string[]): Promise<number> { return 0; }
export async function checkVectorsCommand(_argv: readonly string[]): Promise<number> { return 0; }
