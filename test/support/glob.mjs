// Lists files by ending; node:fs has a globSync only from Node 22 on.
import { existsSync, readdirSync } from 'node:fs';

/** Paths below `folder` that end in `suffix`, in no special order. */
export function globSync(folder, suffix) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(suffix))
    .map((entry) => `${entry.parentPath ?? entry.path}/${entry.name}`);
}
