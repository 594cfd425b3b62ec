// The Unix socket beside the port. Whoever can connect to it is `local`, so nobody but its owner may:
// the socket has mode 0600 from its first moment, and a folder made for it 0700.
// It does not lock anything: two servers with one path are told apart by asking who answers.
import { chmodSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import type { Server } from 'node:net';
import { dirname } from 'node:path';

/** sun_path has 108 bytes on Linux, 104 on macOS; Node 20 cuts what is longer without a word. */
const PATH_BYTES_MAX = 103;
/** Only the owner may connect: every other permission is taken from the socket at its birth. */
const OWNER_ONLY_UMASK = 0o177;

/** The socket cannot be made; `message` says why, for the operator. */
export class UnixSocketError extends Error {
  override name = 'UnixSocketError';
}

/** Lets `server` listen at `path`. Rejects with UnixSocketError. A clean end of the server removes the socket. */
export async function listenUnix(server: Server, path: string): Promise<void> {
  if (Buffer.byteLength(path) > PATH_BYTES_MAX) {
    throw new UnixSocketError(`the path has ${Buffer.byteLength(path)} bytes; a Unix socket's has at most ${PATH_BYTES_MAX}`);
  }
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    await removeStale(path);
    await listen(server, path);
    chmodSync(path, 0o600);
  } catch (error) {
    if (error instanceof UnixSocketError) throw error;
    throw new UnixSocketError((error as Error).message, { cause: error });
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // The socket is made within this call; a chmod afterwards would leave others a moment to connect.
    const umask = process.umask(OWNER_ONLY_UMASK);
    try {
      server.listen({ path, backlog: 1024 }, () => {
        server.removeListener('error', reject);
        resolve();
      });
    } finally {
      process.umask(umask);
    }
  });
}

/** Removes a socket that nobody listens on any more. */
async function removeStale(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new UnixSocketError('there is something at this path that is not a socket; it is left alone');
  const code = await knock(path);
  if (code === 'ECONNREFUSED') rmSync(path, { force: true });
  else if (code !== 'ENOENT') throw new UnixSocketError('another process listens there');
}

/** '' when somebody answers, else why not. A queue that is full or a refusal of rights means somebody lives. */
function knock(path: string): Promise<string> {
  return new Promise((resolve) => {
    const probe = connect(path, () => {
      probe.destroy();
      resolve('');
    });
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
  });
}
