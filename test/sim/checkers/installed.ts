// The snapshot of a new generation of a log's files is on disk, and so are the names of all its files, before
// CURRENT names it: looked at when that is about to happen. (Of its segments I3 sees what is acked.)
import type { DiskOperation } from '../../support/sim-disk.ts';
import type { SimFolderNode } from '../../support/sim-media.ts';
import { demand } from '../core/failure.ts';
import type { Checker } from '../history/watch.ts';
import type { SimNode } from '../node/sim-node.ts';

const CURRENT_TO_BE = /^(logs\/[0-9a-f]{32})\/CURRENT\.tmp$/;

export class Installed implements Checker {
  readonly rule = 'installs';

  reshapes(sim: SimNode, { call, path }: DiskOperation): void {
    const folder = call === 'rename' ? CURRENT_TO_BE.exec(path)?.[1] : undefined;
    if (folder === undefined) return;
    const { media } = sim.disk;
    const generation = `${folder}/${sim.disk.contents(path).toString('latin1').trim()}`;
    let at: SimFolderNode = media.root;
    for (const name of generation.split('/')) at = at.entries.get(name) as SimFolderNode;
    demand(media.namesAreSynced(at), this.rule, () => `${sim.name} installs ${generation}, and its names are not synced`);
    for (const [name, file] of at.entries) {
      if (file.kind !== 'file' || !name.startsWith('snapshot-')) continue;
      demand(file.durableSize === file.size && file.dirty.size === 0, this.rule, () => `${sim.name} installs ${generation}, and ${name} is not synced`);
    }
  }
}
