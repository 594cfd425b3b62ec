export const OUTPUT: string;
export function buildSim(): Promise<void>;
