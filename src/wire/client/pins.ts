// Which log is meant by a name: the uid that this client saw first under it. A log that was deleted and
// made again has another uid, and a request that says the old one is refused with LOG_CHANGED; so an
// offset, a fence or a producer of one history is never used on another.

export class LogPins {
  private readonly uids = new Map<string, Buffer>();

  get(log: string): Buffer | undefined {
    return this.uids.get(log);
  }

  /** Remembers the uid of an answer, unless one is known. `uid` may be a view: it is copied. */
  learn(log: string, uid: Buffer | undefined): void {
    if (uid !== undefined && !this.uids.has(log)) this.uids.set(log, Buffer.from(uid));
  }

  /** The caller has made the log itself and means this one from now on. */
  set(log: string, uid: Buffer): void {
    this.uids.set(log, Buffer.from(uid));
  }

  forget(log: string): void {
    this.uids.delete(log);
  }
}

/** 16 bytes of 32 hex digits. @throws TypeError */
export function parseUid(hex: string): Buffer {
  if (!/^[0-9a-fA-F]{32}$/.test(hex)) throw new TypeError(`uid "${hex}" is not accepted; expected 32 hex digits`);
  return Buffer.from(hex, 'hex');
}
