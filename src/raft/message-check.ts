// What must hold of a message before the core believes a word of it: a peer's fault is not ours.
//
// Only relations between fields are checked here; ranges of single fields are the codec's.
import { MessageKind } from './types.ts';
import type { Append, Message } from './types.ts';

export function isWellFormed(message: Message): boolean {
  switch (message.kind) {
    case MessageKind.PreVote:
      return message.forTerm === message.term + 1;
    case MessageKind.Vote:
      return message.forTerm === message.term && message.term > 0;
    case MessageKind.VoteReply:
      return !message.granted || message.forTerm === message.term;
    case MessageKind.Append:
      return isWellFormedAppend(message);
    default:
      return message.term >= 0;
  }
}

function isWellFormedAppend(message: Append): boolean {
  const { prevIndex, prevTerm, fromIndex, toIndex, runs, configs } = message;
  if (message.term < 1 || prevIndex < 0 || fromIndex !== prevIndex + 1 || toIndex < prevIndex) return false;
  if (prevTerm < 0 || prevTerm > message.term) return false;
  if (toIndex === prevIndex) return runs.length === 0 && configs.length === 0;
  if (runs.length === 0 || runs[0]!.fromIndex !== fromIndex) return false;
  let term = prevTerm;
  for (let i = 0; i < runs.length; i++) {
    const run = runs[i]!;
    if (run.term < term || run.term < 1 || run.term > message.term || run.fromIndex > toIndex) return false;
    if (i > 0 && run.fromIndex <= runs[i - 1]!.fromIndex) return false;
    term = run.term;
  }
  for (let i = 0; i < configs.length; i++) {
    const { index } = configs[i]!;
    if (index < fromIndex || index > toIndex) return false;
    if (i > 0 && index <= configs[i - 1]!.index) return false;
  }
  return true;
}
