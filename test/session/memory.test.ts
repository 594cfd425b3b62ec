// What a quiet connection costs: ten thousand of them must not cost more than a few tens of MiB, also
// after each has been busy.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { SessionHost } from '../../src/wire/session/ports.ts';
import { Session } from '../../src/wire/session/session.ts';
import { answerOk, FakeService, hello, LOCAL, PREFACE, produceFrame, testConfig } from './support.ts';

const memory = suite('session/memory');

const CONNECTIONS = 2_000;
/** Bytes of our own objects per quiet connection. */
const QUIET_SIZE_MAX = 2_048;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function used(): number {
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const noHost: SessionHost = {
  outputReady() {}, pauseReading() {}, resumeReading() {}, finish() {}, destroy() {},
};

function flush(session: Session): void {
  session.turnEnd();
  for (const chunk of session.takeOutput(Infinity)) session.written(chunk.length);
}

function ready(service: FakeService): Session {
  const session = new Session(testConfig(), service, noHost, LOCAL, 0);
  session.receive(Buffer.concat([PREFACE, hello()]), 0);
  flush(session);
  return session;
}

memory('a quiet connection holds less than 2 KiB, before and after a burst of requests', () => {
  const service = new FakeService();
  service.onProduce = answerOk;
  for (let i = 0; i < 50; i++) ready(service);
  const sessions: Session[] = new Array(CONNECTIONS);
  const before = used();
  for (let i = 0; i < CONNECTIONS; i++) sessions[i] = ready(service);
  const fresh = (used() - before) / CONNECTIONS;
  assert.ok(fresh < QUIET_SIZE_MAX, `${Math.round(fresh)} bytes, fresh`);

  for (const session of sessions) {
    const burst = Buffer.concat(Array.from({ length: 100 }, (_, i) => produceFrame(i + 2, 'x'.repeat(100))));
    // Cut inside a frame, so that the reader has to put one together; held, so that the id table grows.
    service.onProduce = () => {};
    session.receive(burst.subarray(0, 5_000), 1);
    session.receive(burst.subarray(5_000), 1);
    for (let id = 2; id < 102; id++) answerOk(session, id);
    flush(session);
    session.tick(5_000);
    service.calls.length = 0;
  }
  const quiet = (used() - before) / CONNECTIONS;
  assert.ok(quiet < QUIET_SIZE_MAX, `${Math.round(quiet)} bytes, quiet again`);
  assert.ok(sessions.every((session) => session.outputBytes === 0), 'and they were all still there to be measured');
  console.log(`# a quiet connection: ${Math.round(fresh)} bytes fresh, ${Math.round(quiet)} after a burst`);
});

memory.run();
