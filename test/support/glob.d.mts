/** Paths below `folder` that end in `suffix`, in no special order. */
export function globSync(folder: string, suffix: string): string[];
