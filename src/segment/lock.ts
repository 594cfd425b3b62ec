// The lock of a data directory: one process at a time, also across containers (no pid is trusted),
// and nothing to clean up by hand after kill -9. Two locks are taken: flock on the directory where
// node:ffi can (the kernel drops it with its holder), and always a listening Unix socket `lock`, on
// which every Node can see whether its maker lives: a connect that is refused means it does not.
//
// The socket listens under a name of its own, `lock.new.*`, and is linked to `lock`; link never
// replaces, so of many starters one succeeds. A dead `lock` is first renamed to `lock.old.*` and
// asked once more under that name: between the question and the rename it may have been replaced.
//
// Invariant: a living holder's socket is always at `lock` or at some `lock.old.*`, and nobody holds
// the lock while a living socket of another is at either. (Unlinking a dead `lock` and listening
// again lets two starters after a crash both win.)
import * as fs from 'node:fs';
import { randomBytes } from 'node:crypto';
import { createConnection, createServer, type Server } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadMmap } from './mmap-ffi.ts';

const LOCK_NAME = 'lock';
const NEW_PREFIX = 'lock.new.';
const OLD_PREFIX = 'lock.old.';

/** sun_path has 108 bytes on Linux, 104 on macOS, and Node 20 cuts what is longer without a word. */
const SOCKET_PATH_BYTES_MAX = 100;
/** How long a starter that took over a dead lock waits before it looks whether it is still its own. */
const SETTLE_MS = 50;
/** Wait between two looks while another starter is about to put a socket back, and how often. */
const RETRY_MS = 25;
const RETRIES_MAX = 80;
/** A holder that is stopped or busy still counts, but is not named. */
const HOLDER_ANSWER_MS = 500;

/** What a holder tells those who come second. */
export interface LockHolder {
  pid: number;
  host: string;
  /** Label and address of the node, once known. */
  name?: string;
  address?: string;
}

/** Somebody listens on a lock, or may: a socket of another user tells us nothing. */
interface Asked {
  readonly holder: LockHolder | null;
  readonly ofAnotherUser?: boolean;
}

/** Another process has the data directory. */
export class DirectoryInUseError extends Error {
  override name = 'DirectoryInUseError';
  readonly code = 'DIRECTORY_IN_USE';
  readonly holder: LockHolder | null;

  constructor(directory: string, { holder, ofAnotherUser }: Asked) {
    const called = holder?.name === undefined ? '' : ` ("${holder.name}"${holder.address === undefined ? '' : `, ${holder.address}`})`;
    const who = holder === null ? 'another process' : `process ${holder.pid} on ${holder.host}${called}`;
    const way = ofAnotherUser === true
      ? 'its lock belongs to another user: stop the server there, or, if none runs, give that directory to the user that runs sidelog (chown -R)'
      : 'stop it, or use another directory';
    super(`data directory ${directory} is in use by ${who}; ${way}`);
    this.holder = holder;
  }
}

/** No lock can be made in the data directory; `cause` says why. */
export class CannotLockError extends Error {
  override name = 'CannotLockError';
  readonly code = 'CANNOT_LOCK';

  constructor(directory: string, why: string, options?: ErrorOptions) {
    super(`cannot lock data directory ${directory}: ${why}`, options);
  }
}

export interface LockOptions {
  /** Tests only: waits before each step, to try every order of steps of several starters. */
  beforeStep?: (step: string) => Promise<void>;
  /** Tests only: without flock, as on a Node without node:ffi. */
  flock?: boolean;
  settleMs?: number;
}

/**
 * Takes the lock of an existing directory. Throws DirectoryInUseError when another has it, and
 * CannotLockError where the file system can do neither flock nor Unix sockets.
 */
export async function lockDirectory(directory: string, options: LockOptions = {}): Promise<DirectoryLock> {
  const lock = new DirectoryLock(fs.realpathSync(directory), options);
  try {
    await lock.take();
    return lock;
  } catch (error) {
    await lock.abandon();
    throw error;
  }
}

export class DirectoryLock {
  private readonly directory: string;
  private readonly options: LockOptions;
  private readonly directoryFd: number;
  private server: Server | null = null;
  /** Our socket's own name until the lock is settled. */
  private newName = '';
  private inode = 0n;
  private hasFlock = false;
  private holder: LockHolder = { pid: process.pid, host: hostname() };

  constructor(directory: string, options: LockOptions) {
    this.directory = directory;
    this.options = options;
    this.directoryFd = fs.openSync(directory, 'r');
  }

  /** What those who come second are told from now on. */
  describe(name: string, address: string): void {
    this.holder = { ...this.holder, name, address };
  }

  /** Whether flock guards the directory too (for status). */
  get usesFlock(): boolean {
    return this.hasFlock;
  }

  /** Gives the lock up; the process may go on. */
  async release(): Promise<void> {
    try {
      await this.removeOwn();
    } finally {
      await this.abandon();
    }
  }

  /** Used by lockDirectory. */
  async take(): Promise<void> {
    await this.takeFlock();
    try {
      await this.listen();
    } catch (error) {
      // Who has no flock needs a socket here, and cannot have one either: flock alone is enough.
      if (this.hasFlock) return;
      const code = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
      throw new CannotLockError(this.directory, `no Unix socket can be made there (${code}), and there is no flock`, { cause: error });
    }
    const tookOver = await this.linkToLock();
    if (tookOver) await sleep(this.options.settleMs ?? SETTLE_MS);
    await this.settle();
    await this.step('unlink new');
    unlinkIfThere(this.at(this.newName));
  }

  /** Used by lockDirectory: lets go of everything but a `lock` that is held. */
  async abandon(): Promise<void> {
    if (this.newName !== '') unlinkIfThere(this.at(this.newName));
    const server = this.server;
    this.server = null;
    if (server !== null) await new Promise<void>((resolve) => server.close(() => resolve()));
    fs.closeSync(this.directoryFd); // ends the flock
  }

  private async takeFlock(): Promise<void> {
    const libc = this.options.flock === false ? null : loadMmap();
    if (libc === null) return;
    const code = libc.tryLock(this.directoryFd);
    this.hasFlock = code === '';
    if (code !== 'EAGAIN' && code !== 'EWOULDBLOCK') return; // other codes: no flock on this file system
    const found = await this.ask(LOCK_NAME);
    throw new DirectoryInUseError(this.directory, found === 'dead' || found === 'gone' ? { holder: null } : found);
  }

  /** Listens under a new name, once more when another starter took the name for that of a dead one. */
  private async listen(): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      this.newName = NEW_PREFIX + randomBytes(4).toString('hex');
      const server = createServer((socket) => {
        socket.on('error', () => {});
        socket.end(`${JSON.stringify(this.holder)}\n`);
      });
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(this.socketPath(this.newName), resolve);
      });
      server.on('error', () => {});
      server.unref();
      this.server?.close();
      this.server = server;
      const inode = this.inodeOf(this.newName);
      if (inode !== null) {
        this.inode = inode;
        return;
      }
      // Between its bind and its listen a socket looks dead to those who clean up.
      if (attempt === RETRIES_MAX) throw new Error(`${this.newName} vanished ${RETRIES_MAX} times`);
    }
  }

  /** Links our socket to `lock`; answers whether a dead one was there before. */
  private async linkToLock(): Promise<boolean> {
    let tookOver = false;
    for (;;) {
      await this.step('link');
      const code = this.tryLink(this.newName);
      if (code === '') return tookOver;
      if (code === 'ENOENT') {
        await this.listen(); // another starter took our name for that of a dead one
        continue;
      }
      if (code !== 'EEXIST') {
        throw new CannotLockError(this.directory, `link failed with ${code}`);
      }
      await this.step('ask');
      if (this.isDirectory(LOCK_NAME)) throw new CannotLockError(this.directory, `a directory is at ${LOCK_NAME}: move it away`);
      const found = await this.ask(LOCK_NAME);
      if (found === 'gone') continue;
      if (found !== 'dead') throw new DirectoryInUseError(this.directory, found);
      tookOver = true;
      await this.moveDeadAway();
    }
  }

  private async moveDeadAway(): Promise<void> {
    const oldName = OLD_PREFIX + randomBytes(4).toString('hex');
    await this.step('rename');
    if (!this.tryRename(LOCK_NAME, oldName)) return;
    await this.step('ask again');
    const found = await this.ask(oldName);
    if (found === 'dead') return unlinkIfThere(this.at(oldName));
    if (found === 'gone') return;
    await this.putBack(oldName);
    throw new DirectoryInUseError(this.directory, found);
  }

  /** Waits until `lock` is ours and no living socket of another was moved away; or gives way. */
  private async settle(): Promise<void> {
    for (let attempt = 0; attempt < RETRIES_MAX; attempt++) {
      await this.step('look');
      const inode = this.inodeOf(LOCK_NAME);
      if (inode === null) {
        // Someone moved us away and is putting us back, or died over it.
        if (this.tryLink(this.newName) !== '') await sleep(RETRY_MS);
        continue;
      }
      if (inode === this.inode) {
        if (await this.giveWayToOthers()) return;
        continue;
      }
      if (!this.isMovedAway()) {
        const found = await this.ask(LOCK_NAME);
        if (found === 'dead') await this.moveDeadAway();
        else if (found !== 'gone') throw new DirectoryInUseError(this.directory, found);
        continue;
      }
      await sleep(RETRY_MS); // the other one sees our socket at lock.old.* and gives way
    }
    throw new DirectoryInUseError(this.directory, { holder: null });
  }

  /** True when no other's living socket is at a `lock.old.*`; else puts it back and throws. Removes dead names. */
  private async giveWayToOthers(): Promise<boolean> {
    await this.step('list');
    for (const name of fs.readdirSync(this.directory)) {
      const isOld = name.startsWith(OLD_PREFIX);
      if (!isOld && !name.startsWith(NEW_PREFIX)) continue;
      const inode = this.inodeOf(name);
      if (inode === this.inode || inode === null) continue;
      const found = await this.ask(name);
      if (found === 'dead') unlinkIfThere(this.at(name));
      if (!isOld || found === 'dead' || found === 'gone') continue;
      await this.step('give way');
      await this.removeOwn();
      await this.putBack(name);
      throw new DirectoryInUseError(this.directory, found);
    }
    return this.inodeOf(LOCK_NAME) === this.inode;
  }

  /** Gives a living socket that was moved away its name `lock` back. */
  private async putBack(oldName: string): Promise<void> {
    for (let attempt = 0; attempt < RETRIES_MAX; attempt++) {
      await this.step('put back');
      const code = this.tryLink(oldName);
      if (code === 'ENOENT') return; // another did it
      if (code === '' || this.inodeOf(LOCK_NAME) === this.inodeOf(oldName)) return unlinkIfThere(this.at(oldName));
      await sleep(RETRY_MS); // a newcomer was faster: it will see oldName and give way
    }
  }

  /** Takes our own socket off `lock`, never that of another. */
  private async removeOwn(): Promise<void> {
    if (this.inodeOf(LOCK_NAME) === this.inode) {
      const oldName = OLD_PREFIX + randomBytes(4).toString('hex');
      if (this.tryRename(LOCK_NAME, oldName) && this.inodeOf(oldName) !== this.inode) await this.putBack(oldName);
    }
    for (const name of fs.readdirSync(this.directory)) {
      if (name.startsWith(OLD_PREFIX) && this.inodeOf(name) === this.inode) unlinkIfThere(this.at(name));
    }
  }

  private isMovedAway(): boolean {
    return fs.readdirSync(this.directory).some((name) => name.startsWith(OLD_PREFIX) && this.inodeOf(name) === this.inode);
  }

  /** Connects to a name in the directory and reads who listens there. */
  private ask(name: string): Promise<'dead' | 'gone' | Asked> {
    return new Promise((resolve) => {
      const socket = createConnection({ path: this.socketPath(name) });
      let answer = '';
      let connected = false;
      const end = (result: 'dead' | 'gone' | Asked): void => {
        clearTimeout(timer);
        socket.destroy();
        resolve(result);
      };
      const timer = setTimeout(() => end({ holder: null }), HOLDER_ANSWER_MS);
      socket.on('connect', () => (connected = true));
      socket.on('data', (chunk) => (answer += chunk.toString('utf8')).length > 4096 && end({ holder: null }));
      socket.on('end', () => end({ holder: parseHolder(answer) }));
      socket.on('error', (error: NodeJS.ErrnoException) => {
        if (!connected && (error.code === 'ECONNREFUSED' || error.code === 'ENOTSOCK')) end('dead');
        else if (!connected && error.code === 'ENOENT') end('gone');
        else if (error.code === 'EACCES') end({ holder: null, ofAnotherUser: true });
        else end({ holder: null }); // EAGAIN: its queue is full
      });
    });
  }

  private step(name: string): Promise<void> {
    return this.options.beforeStep?.(name) ?? Promise.resolve();
  }

  private at(name: string): string {
    return join(this.directory, name);
  }

  private socketPath(name: string): string {
    const path = this.at(name);
    if (Buffer.byteLength(path) <= SOCKET_PATH_BYTES_MAX) return path;
    if (process.platform === 'linux') return `/proc/self/fd/${this.directoryFd}/${name}`;
    throw new Error(`the path of data directory ${this.directory} is too long for a Unix socket; use a shorter one`);
  }

  private inodeOf(name: string): bigint | null {
    return fs.lstatSync(this.at(name), { bigint: true, throwIfNoEntry: false })?.ino ?? null;
  }

  private isDirectory(name: string): boolean {
    return fs.lstatSync(this.at(name), { throwIfNoEntry: false })?.isDirectory() ?? false;
  }

  /** Links `name` to `lock`; '' or the errno code. */
  private tryLink(name: string): string {
    try {
      fs.linkSync(this.at(name), this.at(LOCK_NAME));
      return '';
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? 'EIO';
    }
  }

  private tryRename(from: string, to: string): boolean {
    try {
      fs.renameSync(this.at(from), this.at(to));
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    }
  }
}

function unlinkIfThere(path: string): void {
  fs.rmSync(path, { force: true });
}

function parseHolder(answer: string): LockHolder | null {
  try {
    const { pid, host, name, address } = JSON.parse(answer) as LockHolder;
    if (typeof pid !== 'number' || typeof host !== 'string') return null;
    return { pid, host, ...(typeof name === 'string' && { name }), ...(typeof address === 'string' && { address }) };
  } catch {
    return null;
  }
}
