// Cutting a long list into several answers (LIST_LOGS, LIST_POSITIONS with MORE): each is a payload
// of its own that fits the receiver's frames.
import type { Codec } from './bytes.ts';
import { Writer } from './bytes.ts';
import { assert } from './assert.ts';
import { FRAME_HEADER_SIZE, LIST_LENGTH_MAX } from './limits.ts';

/** Bytes of a list answer besides its elements: header, count, empty ext. */
const PAGE_OVERHEAD_SIZE = FRAME_HEADER_SIZE + 2 + 2;

/** Splits `items` so that each page's frame has at most `maxFrame` bytes; at least one page, maybe empty. */
export function pagesOf<T>(items: readonly T[], element: Codec<T>, maxFrame: number): T[][] {
  const scratch = new Writer(1024);
  const pages: T[][] = [[]];
  let size = PAGE_OVERHEAD_SIZE;
  for (const item of items) {
    scratch.clear();
    element.write(scratch, item);
    assert(PAGE_OVERHEAD_SIZE + scratch.length <= maxFrame, 'one element fits a frame');
    let page = pages[pages.length - 1]!;
    if (size + scratch.length > maxFrame || page.length === LIST_LENGTH_MAX) {
      page = [];
      pages.push(page);
      size = PAGE_OVERHEAD_SIZE;
    }
    page.push(item);
    size += scratch.length;
  }
  return pages;
}
