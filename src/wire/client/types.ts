// What an application gives to the client and gets from it. Types only.
// Offsets, sizes and times are numbers: integers up to 2^53 − 1; times are Unix milliseconds unless a
// name ends in Ms as a span. Byte arrays that come out are views of received memory: copy what is kept
// for long, or it keeps a whole network chunk alive.
import type { RecordInput } from '../record.ts';

export type { RecordInput };

/** TLS towards the server. The certificate is always verified; there is no switch to turn that off. */
export interface TlsOptions {
  /** PEM of the authorities to trust instead of the system's. */
  ca?: string | Buffer | (string | Buffer)[] | undefined;
  /** PEM of a client certificate and its key. */
  cert?: string | Buffer | undefined;
  key?: string | Buffer | undefined;
  /** Name that the certificate must cover, when it is not the host of the address. */
  servername?: string | undefined;
}

export interface ConnectOptions {
  /** `host:port`, `[v6]:port`, `unix:/path/to/socket` or an absolute path of a Unix socket. */
  address: string;
  /** TLS when given; `true` = with the system's authorities. */
  tls?: TlsOptions | true | undefined;
  /** Bearer token; refused without TLS unless the address is loopback or a Unix socket. */
  token?: string | undefined;
  /** What the client calls itself, for people. Default `sidelog-js`. */
  name?: string | undefined;
  /** 32 hex digits: the cluster that must answer. Default: any. */
  clusterId?: string | undefined;
  /** How long the first connect is tried, and how long a request waits for a connection. Default 10,000. */
  connectTimeoutMs?: number | undefined;
  /** How long a request is tried, retries included, before it fails with TIMED_OUT. Default 40,000. */
  requestTimeoutMs?: number | undefined;
  /** First and longest pause between attempts to connect. Default 25 and 2,000. */
  backoff?: { minMs?: number | undefined; maxMs?: number | undefined } | undefined;
  /** Called when a connection is ready, lost, or an attempt failed. Must not throw. */
  onState?: ((state: ConnectionState) => void) | undefined;
}

export type ConnectionState =
  | { event: 'ready'; server: ServerInfo }
  | { event: 'lost'; error: Error }
  | { event: 'failed'; error: Error; attempt: number; retryInMs: number };

/** What the server said in HELLO. */
export interface ServerInfo {
  readonly node: string;
  readonly server: string;
  /** Hex. */
  readonly clusterId: string;
  readonly maxFrame: number;
  /** Bytes of a batch, header included. */
  readonly maxBatch: number;
  readonly maxInflight: number;
  readonly idleMs: number;
}

export type CompressionName = 'none' | 'gzip' | 'zstd';
export type DurabilityName = 'fsync' | 'interval' | 'memory';

/** The receipt of an acked batch: what was really reached. */
export interface Receipt {
  /** Offset of the batch's first record; NONE (−1) for a duplicate so old that the server forgot its place. */
  readonly baseOffset: number;
  /** Offset after its last record; NONE (−1) likewise. */
  readonly nextOffset: number;
  /** The leader's clock. */
  readonly appendTime: number;
  readonly term: number;
  readonly durability: DurabilityName;
  /** Voters known to hold the batch durably. */
  readonly copies: number;
  /** The batch had been stored before: this was a resend. */
  readonly duplicate: boolean;
}

/** The receipt of one record. */
export interface RecordReceipt extends Receipt {
  /** Offset of this record; NONE (−1) for a forgotten duplicate. */
  readonly offset: number;
}

export interface ProduceOptions {
  /** How long the server waits for the commit. Default 30,000; at most 600,000. */
  timeoutMs?: number | undefined;
  /** The offset that the first record must get; else OFFSET_MISMATCH. */
  expectedOffset?: number | undefined;
  /** The log's fence token; else FENCED. */
  fence?: number | undefined;
  /** Uid (hex) of the log that is meant; else LOG_CHANGED. Default: the one this client has seen under the name. */
  logUid?: string | undefined;
}

export interface ProducerOptions extends ProduceOptions {
  /**
   * Name of an idempotent producer: every record is stored once, also over reconnects and retries.
   * A second one under the same name shuts the first out (PRODUCER_FENCED).
   */
  name?: string | undefined;
  /** How long a batch that is not full waits for more records. Default 0: until the end of the turn. */
  lingerMs?: number | undefined;
  /** Bytes after which a batch is full, before compression. Default 262,144; at most the server's max_batch. */
  batchBytes?: number | undefined;
  /** Records after which a batch is full. Default 65,535. */
  batchRecords?: number | undefined;
  /** Default `none`. */
  compression?: CompressionName | undefined;
  /** Batches under way at once. Default 16; with a name at most the server's window. */
  maxInFlight?: number | undefined;
  /** Bytes waiting, sent ones included, from which `append` answers false. Default 16 MiB. */
  bufferBytes?: number | undefined;
  /** How long a batch is tried, resends included, before it fails. Default 120,000; Infinity = for ever. */
  deliveryTimeoutMs?: number | undefined;
  /** Called for each acked batch, in order. Must not throw. */
  onAck?: ((receipt: Receipt, count: number) => void) | undefined;
  /** Called once when records of the producer are lost to an error and nobody awaited them. Must not throw. */
  onError?: ((error: Error) => void) | undefined;
}

/** What the server knows of an idempotent producer when it begins. */
export interface ProducerInfo {
  readonly producerId: number;
  readonly epoch: number;
  /** Batches that were stored under this name before: tells a restarted app what is in. */
  readonly nextSeq: number;
  readonly window: number;
  /** Hex. */
  readonly logUid: string;
}

/** Where a read starts. `time`: the first record of the first batch whose append time is not before it. */
export type ReadFrom = { offset: number } | { time: number } | { position: string } | 'earliest' | 'next';

interface ReadOptions {
  /** Default `earliest`. */
  from?: ReadFrom | undefined;
  /** Answer only from a node that has this much: `nextOffset` of an own receipt makes reads see it. */
  after?: number | undefined;
  /** With an offset: the term of the record before it. Another one there → LOG_CHANGED. */
  prevTerm?: number | undefined;
  /** Uid (hex) of the log that is meant; else LOG_CHANGED. Default: the one this client has seen under the name. */
  logUid?: string | undefined;
  /**
   * Called for a batch that is broken or compressed in a way this Node cannot read; the read then goes
   * on after it. Without it the read fails with that error, whose `detail.nextOffset` is where to go on.
   */
  onBadBatch?: ((error: Error, baseOffset: number, nextOffset: number) => void) | undefined;
}

export interface FetchOptions extends ReadOptions {
  /** How much is worth an answer before maxWaitMs is over. Default 1. */
  minBytes?: number | undefined;
  /** How much to get at most, in bytes of batches; one batch comes in any case. Default 1 MiB. */
  maxBytes?: number | undefined;
  /** How long to wait for minBytes. Default 0; at most 600,000. */
  maxWaitMs?: number | undefined;
  /** Answer from a state that holds everything acked before the call. */
  linearizable?: boolean | undefined;
}

export interface SubscribeOptions extends ReadOptions {
  /** Bytes of batches that may be under way or waiting here. Default 4 MiB. */
  creditBytes?: number | undefined;
}

/** A record as it was read. */
export interface LogRecord {
  readonly offset: number;
  /** null = written without a value (not the same as an empty one). */
  readonly value: Buffer | null;
  /** null = without a key. */
  readonly key: Buffer | null;
  readonly headers: readonly [string, Buffer][];
  /** The leader's clock at the append; never goes down within a log. */
  readonly appendTime: number;
  /** The producer's clock, as it said; 0 = unset. */
  readonly clientTime: number;
  /** Term of the leader that took it: `prevTerm` for a read from `offset + 1`. */
  readonly term: number;
}

export interface FetchResult {
  readonly records: LogRecord[];
  /** Where the read started. */
  readonly startOffset: number;
  /** Where to go on. */
  readonly nextOffset: number;
  /** Term of the last record; undefined when there is none. Give it as `prevTerm` with nextOffset. */
  readonly lastTerm: number | undefined;
  readonly logStart: number;
  readonly committedEnd: number;
  /** Hex. */
  readonly logUid: string;
}

export interface LogSettings {
  /** Default fsync. */
  durability?: DurabilityName | undefined;
  /** With durability `interval`: time between syncs, 1–60,000. */
  intervalMs?: number | undefined;
  /** Wished copies: 1, 3 or 5; 0 = the server's default. */
  replication?: 0 | 1 | 3 | 5 | undefined;
  /** Data to keep; 0 = all. */
  retainBytes?: number | undefined;
  /** Time to keep records; 0 = for ever. */
  retainMs?: number | undefined;
  /** Size of a segment file, 1 MiB–1 GiB; 0 = the server's default. */
  segmentBytes?: number | undefined;
  /** Compressions that producers may use. Default none and gzip. */
  compressions?: CompressionName[] | undefined;
}

/** What may be altered later. Left out = as it is. */
export type LogAlteration = Pick<LogSettings, 'retainBytes' | 'retainMs' | 'replication' | 'compressions'>;

export interface LogDescription {
  readonly log: string;
  /** Hex. */
  readonly logUid: string;
  readonly logStart: number;
  readonly committedEnd: number;
  /** 0 = none. */
  readonly fence: number;
  /** Size of the data as stored. */
  readonly bytes: number;
  /** Of a log in the trash: when it was deleted. */
  readonly created: number;
  readonly term: number;
  /** Node name; '' = none known. */
  readonly leader: string;
  readonly replicas: readonly { readonly node: string; readonly role: 'voter' | 'learner' }[];
  readonly durability: DurabilityName;
  readonly replication: number;
  readonly intervalMs: number;
  readonly retainBytes: number;
  readonly retainMs: number;
  readonly segmentBytes: number;
  readonly compressions: readonly CompressionName[];
}

export interface PositionEntry {
  readonly name: string;
  readonly offset: number;
  /** When it was changed last. */
  readonly updated: number;
}

export interface ClusterDescription {
  /** Hex. */
  readonly clusterId: string;
  readonly term: number;
  /** Node name; '' = none known. */
  readonly catalogLeader: string;
  readonly nodes: readonly {
    readonly node: string;
    /** Hex. */
    readonly nodeId: string;
    readonly address: string;
    readonly state: 'alive' | 'suspect' | 'dead' | 'left';
    readonly role: 'voter' | 'learner';
    readonly zone: string;
    readonly version: string;
  }[];
}
