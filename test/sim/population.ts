// Who lives in a world: makes the clients that its options name, each on a log that suits it.
import type { Prng } from '../support/prng.ts';
import { Admin } from './clients/admin.ts';
import type { ClientWorld, LogRef, SimClient } from './clients/client.ts';
import { ConditionalProducer } from './clients/conditional.ts';
import { FencedProducer } from './clients/fenced.ts';
import { Fetcher } from './clients/fetcher.ts';
import { LibraryProducer } from './clients/library.ts';
import { PlainProducer } from './clients/plain.ts';
import { PositionMover } from './clients/positions.ts';
import { Rogue } from './clients/rogue.ts';
import { SequencedProducer } from './clients/sequenced.ts';
import { Subscriber } from './clients/subscriber.ts';
import { NamedProducer } from './history/named-producer.ts';
import { PositionHistory } from './history/positions.ts';
import type { SimOptions } from './options.ts';

export function populate(world: ClientWorld, options: SimOptions, prng: Prng): SimClient[] {
  const { clients, thinkUs, recordBytesMax, depth, trims, scratchLogs } = options;
  const made: SimClient[] = [];
  const open = world.logs.filter((ref) => !ref.fenced);
  const fenced = world.logs.filter((ref) => ref.fenced);
  const add = (kind: string, count: number, logs: readonly LogRef[], make: (name: string, own: Prng, ref: LogRef, i: number) => SimClient): void => {
    for (let i = 0; i < count && logs.length > 0; i++) made.push(make(`${kind}-${i}`, prng.fork(), prng.pick(logs), i));
  };
  add('plain', clients.plain, open, (name, own, ref) => new PlainProducer(world, name, own, ref, { thinkUs, depth, recordsMax: 5, sizeMax: recordBytesMax }));
  add('conditional', clients.conditional, open, (name, own, ref) => new ConditionalProducer(world, name, own, ref, thinkUs));
  addSequenced(world, options, prng, open, made);
  add('library', clients.library, open, (name, own, ref) => new LibraryProducer(world, name, own, ref, thinkUs));
  add('fenced', clients.fenced, fenced, (name, own, ref) => new FencedProducer(world, name, own, ref, thinkUs));
  add('fetcher', clients.fetchers, world.logs, (name, own, ref) => new Fetcher(world, name, own, ref, thinkUs));
  add('subscriber', clients.subscribers, world.logs, (name, own, ref) => new Subscriber(world, name, own, ref, thinkUs));
  const ref = prng.pick(world.logs);
  const positions = new PositionHistory(['app', 'index', 'mail'], () => ref.history);
  add('mover', clients.movers, [ref], (name, own, chosen, i) => new PositionMover(world, name, own, chosen, positions, i + 1, thinkUs));
  add('admin', clients.admins, world.logs, (name, own) => new Admin(world, name, own, { thinkUs: 100_000, trims, scratchLogs }));
  add('rogue', clients.rogues, open, (name, own, chosen) => new Rogue(world, name, own, chosen, 200_000));
  return made;
}

/** Some of them share a name on the same log, so that they fence each other off. */
function addSequenced(world: ClientWorld, options: SimOptions, prng: Prng, open: readonly LogRef[], made: SimClient[]): void {
  const { thinkUs, depth } = options;
  const options2 = { thinkUs, depth, restartChance: prng.pick([0, 0.002, 0.02]), probeChance: prng.pick([0.005, 0.05]) };
  let shared: { ref: LogRef; named: NamedProducer } | null = null;
  for (let i = 0; i < options.clients.sequenced; i++) {
    if (shared === null || !prng.chance(0.3)) {
      const ref = prng.pick(open);
      shared = { ref, named: new NamedProducer(`sequenced-${i}`, () => ref.history) };
    }
    made.push(new SequencedProducer(world, `sequenced-${i}`, prng.fork(), shared.ref, shared.named, options2));
  }
}
