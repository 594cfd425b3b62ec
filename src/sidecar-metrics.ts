// The names and help texts of every metric. Hot paths only add to plain numbers; all else is here.
import type { monitorEventLoopDelay } from 'node:perf_hooks';
import { MetricsText } from './http/metrics.ts';
import { LATENCY_BOUNDS_MS } from './replica/counters.ts';
import { descriptorLimit, openDescriptors } from './sidecar-checks.ts';
import { slotBytes, stoppedLogs } from './sidecar-status.ts';
import type { SidecarFacts } from './sidecar-status.ts';
import { errorName } from './wire/errors.ts';
import { Op } from './wire/ops.ts';

/**
 * The whole scrape. `loopDelay` is read and begun anew, so that its figures are those since the last
 * scrape; it counts the `resolutionMs` between two looks as well, which are no delay.
 */
export function renderMetrics(facts: SidecarFacts, loopDelay: ReturnType<typeof monitorEventLoopDelay>, resolutionMs: number): string {
  const text = new MetricsText();
  text.single('sidelog_info', 'gauge', 'Version and runtime of this node; always 1.', 1, {
    version: facts.version, node: facts.settings.nodeName, runtime: process.version, index_backend: facts.indexBackend, thread_pool: String(facts.threadPool),
  });
  text.single('sidelog_uptime_seconds', 'gauge', 'Seconds since the start.', facts.uptimeSeconds);
  addRequests(text, facts);
  addLogs(text, facts);
  addRoom(text, facts);
  addProcess(text, facts);
  text.metric('sidelog_event_loop_delay_seconds', 'gauge', 'Delay of the event loop since the last scrape.');
  const quantile = (percent: number): number => Math.max(0, loopDelay.percentile(percent) / 1e9 - resolutionMs / 1000);
  text.sample('sidelog_event_loop_delay_seconds', quantile(50), { quantile: '0.5' });
  text.sample('sidelog_event_loop_delay_seconds', quantile(99), { quantile: '0.99' });
  text.sample('sidelog_event_loop_delay_seconds', quantile(100), { quantile: '1' });
  loopDelay.reset();
  return text.toString();
}

function addRequests(text: MetricsText, { node: { counters } }: SidecarFacts): void {
  text.metric('sidelog_requests_total', 'counter', 'Requests received, by operation.');
  for (const [name, op] of Object.entries(Op)) {
    const count = counters.requests[op]!;
    if (count > 0) text.sample('sidelog_requests_total', count, { op: name });
  }
  text.metric('sidelog_errors_total', 'counter', 'Error answers, by code.');
  for (const [code, count] of counters.errors) text.sample('sidelog_errors_total', count, { code: errorName(code) });

  text.single('sidelog_produce_bytes_total', 'counter', 'Bytes of PRODUCE requests received.', counters.produceBytesIn);
  text.single('sidelog_produce_records_total', 'counter', 'Records committed.', counters.recordsProduced);
  text.single('sidelog_read_bytes_total', 'counter', 'Bytes of batches sent to readers.', counters.readBytesOut);
  text.histogram('sidelog_produce_seconds', 'From a PRODUCE to its ack, sampled once per group commit.', counters.produceLatency, LATENCY_BOUNDS_MS);
  text.histogram('sidelog_fsync_seconds', 'Duration of each fdatasync.', counters.syncLatency, LATENCY_BOUNDS_MS);
  text.single('sidelog_disk_written_bytes_total', 'counter', 'Bytes written to files.', counters.diskBytesWritten);
  text.single('sidelog_disk_read_bytes_total', 'counter', 'Bytes read from files.', counters.diskBytesRead);
}

function addLogs(text: MetricsText, { node }: SidecarFacts): void {
  const { counters } = node;
  const slots = node.logs.list('');
  text.single('sidelog_logs', 'gauge', 'Named logs.', slots.length);
  text.single('sidelog_logs_open', 'gauge', 'Logs that are open.', node.logs.opener.openCount);
  text.single('sidelog_logs_stopped', 'gauge', 'Logs that take no records until an operator acts.', stoppedLogs(node).length);
  text.single('sidelog_logs_in_trash', 'gauge', 'Deleted logs that can be brought back.', node.logs.trash.size);
  text.single('sidelog_log_opens_total', 'counter', 'Logs opened.', counters.logsOpened);
  text.single('sidelog_snapshots_written_total', 'counter', 'Snapshots written.', counters.snapshotsWritten);
  text.single('sidelog_segments_trimmed_total', 'counter', 'Segment files deleted by trims and retention.', counters.segmentsTrimmed);
  text.metric('sidelog_log_bytes', 'gauge', 'Size of each log that was open since the start.');
  for (const slot of slots) {
    const bytes = slotBytes(slot);
    if (bytes > 0) text.sample('sidelog_log_bytes', bytes, { log: slot.name });
  }
  text.metric('sidelog_log_records', 'gauge', 'Records readable in each log that was open since the start.');
  for (const slot of slots) {
    const replica = slot.replica ?? slot.figures;
    if (replica !== null) text.sample('sidelog_log_records', replica.committedEnd - replica.logStart, { log: slot.name });
  }
}

/** What there is only so much of. */
function addRoom(text: MetricsText, { node, listener }: SidecarFacts): void {
  const { counters } = node;
  const { space, memory } = node.context;
  text.single('sidelog_connections', 'gauge', 'Open connections of every kind.', listener.connectionCount);
  text.single('sidelog_connections_refused_total', 'counter', 'Connections refused because there were too many.', listener.refusedCount);
  text.single('sidelog_unwritten_bytes', 'gauge', 'Bytes accepted that wait for the disk.', memory.bytes);
  text.single('sidelog_memory_pauses_total', 'counter', 'Times reading from clients was stopped until the disk caught up.', counters.memoryPauses);
  text.single('sidelog_disk_free_bytes', 'gauge', 'Free bytes on the file system of the data.', space.freeBytes);
  text.single('sidelog_disk_reserve_bytes', 'gauge', 'Free bytes below which records are refused.', space.reserveBytes);
  text.single('sidelog_storage_full', 'gauge', '1 while records are refused for lack of space.', space.full ? 1 : 0);
  text.single('sidelog_damage_found_total', 'counter', 'Times that opening a log, a read or the background check met damage.', counters.damageFound);
}

function addProcess(text: MetricsText, { node }: SidecarFacts): void {
  text.single('process_resident_memory_bytes', 'gauge', 'Resident memory.', process.memoryUsage.rss());
  const openFiles = openDescriptors();
  if (openFiles !== null) text.single('process_open_fds', 'gauge', 'Open file descriptors.', openFiles);
  const openFilesMax = descriptorLimit();
  if (openFilesMax !== null) text.single('process_max_fds', 'gauge', 'File descriptors that may be open.', openFilesMax);
  text.single('sidelog_clock_suspect', 'gauge', '1 while the wall clock has jumped and is not believed.', node.context.clock.suspect ? 1 : 0);
}
