// Mutations of a connection as a whole: prefaces, its end, silence, chunks, HTTP.
import { LAYOUTS } from '../wire/layouts.ts';
import { errorByName } from '../wire/errors.ts';
import type { MakeMutation } from './mutations-answers.ts';
import type { Link, Mutation } from './proxy.ts';
import { isGoaway, isResponse } from './reframe.ts';

const PREFACE_OK = Buffer.from('fa534c4743010000', 'hex');
/** Shorter than the pauses of the cases about silence. */
const SILENCE_MS = 2_500;

function prefaceAnswer(change: (answer: Buffer) => Buffer | null): Mutation {
  return { prefaceAnswer: (answer) => change(Buffer.from(answer)) };
}

const refused = (answer: Buffer): boolean => answer[5] === 0;

const PREFACES: Readonly<Record<string, () => Mutation>> = {
  major: () => prefaceAnswer((answer) => {
    if (!refused(answer)) answer[5] = 2;
    return answer;
  }),
  status: () => prefaceAnswer((answer) => {
    if (refused(answer)) answer.writeUInt16BE(1, 6);
    return answer;
  }),
  accept: () => ({
    prefaceAnswer: (answer) => (refused(answer) ? Buffer.concat([answer.subarray(0, 5), Buffer.from([1, 0, 0])]) : null),
    serverEnded: () => true,
  }),
  'extra-byte': () => prefaceAnswer((answer) => Buffer.concat([answer, Buffer.alloc(1)])),
  early: () => ({
    firstBytes(_bytes, link) {
      if (link.memory.has('early')) return;
      link.memory.set('early', true);
      link.toClient(PREFACE_OK);
    },
    prefaceAnswer: () => Buffer.alloc(0),
  }),
  reserved: () => ({
    preface(preface, link) {
      if (preface[7] !== 0) link.destroy();
      return null;
    },
  }),
  'any-magic': () => ({
    rawRequest(bytes, link) {
      link.toClient(PREFACE_OK);
      return bytes;
    },
    preface(preface, link) {
      if (!preface.subarray(0, 4).equals(PREFACE_OK.subarray(0, 4))) link.toClient(PREFACE_OK);
      return null;
    },
  }),
  'version-first': () => ({
    preface(preface, link) {
      link.memory.set('no version', preface[6]! > 1 || preface[5]! < 1);
      return null;
    },
    prefaceAnswer(answer, link) {
      if (link.memory.get('no version') !== true) return null;
      const copy = Buffer.from(answer);
      copy.writeUInt16BE(errorByName('UNSUPPORTED_VERSION').code, 6);
      return copy;
    },
  }),
};

/** Broken frames never reach the server. */
function ignoreBroken(): Mutation {
  return {
    request(frame) {
      const wrong = !isResponse(frame) && ((frame.id === 0 && !isGoaway(frame)) || frame.status !== 0 || frame.op === LAYOUTS.DELIVER.op);
      return wrong ? [] : null;
    },
    broken: () => true,
  };
}

function endWhenSilent(): Mutation {
  const touch = (link: Link): void => {
    clearTimeout(link.memory.get('timer') as NodeJS.Timeout | undefined);
    link.memory.set('timer', setTimeout(() => link.destroy(), SILENCE_MS).unref());
  };
  return { accepted: touch, chunk: (_bytes, link) => touch(link) };
}

/** Every chunk has to end where a frame ends. */
function chunksOnly(): Mutation {
  return {
    chunk(bytes, link) {
      let at = 0;
      while (at + 4 <= bytes.length) at += 4 + bytes.readUInt32BE(at);
      if (at !== bytes.length) link.destroy();
    },
  };
}

/** HTTP answers with something changed; the plain text of the exchange is small enough for one chunk. */
function http(argument: string): Mutation {
  const answer = (status: string, head = ''): Buffer => Buffer.from(`HTTP/1.1 ${status}\r\nContent-Length: 3\r\nConnection: close\r\n${head}\r\nok\n`);
  const asked = (link: Link): string => (link.memory.get('http') as string | undefined) ?? '';
  const instead = (when: (request: string) => boolean, bytes: Buffer): Mutation => ({
    rawRequest(chunk, link) {
      const text = chunk.toString('latin1');
      if (!/^[A-Z]+ \//.test(text) || !when(text)) return chunk;
      link.toClient(bytes);
      link.endClient();
      return Buffer.alloc(0);
    },
  });
  const change = (edit: (text: string, request: string) => string): Mutation => ({
    rawRequest(chunk, link) {
      link.memory.set('http', chunk.toString('latin1'));
      return chunk;
    },
    rawAnswer: (chunk, link) => (asked(link).startsWith('G') || asked(link).startsWith('H') ? Buffer.from(edit(chunk.toString('latin1'), asked(link)), 'latin1') : chunk),
  });
  switch (argument) {
    case 'status': return change((text) => text.replace(/^HTTP\/1\.1 \d{3}/, 'HTTP/1.1 299'));
    case 'tells-version': return change((text, request) => (/^GET \/(livez|readyz)/.test(request) ? text.replace(/\r\n\r\n[^]*$/, `\r\n\r\n${'details '.repeat(60)}`).replace(/Content-Length: \d+/i, 'Content-Length: 480') : text));
    case 'host-checked': return instead((request) => /Host: (evil|10\.)/.test(request), answer('421 Misdirected Request'));
    case 'content-type': return change((text) => text.replace(/text\/plain; version=0\.0\.4/i, 'text/html'));
    case 'host-ignored': return instead((request) => request.startsWith('GET /metrics') && /Host: evil/.test(request), answer('200 OK'));
    case 'cors': return change((text) => text.replace('\r\n', '\r\nAccess-Control-Allow-Origin: *\r\n'));
    case 'origin-ignored': return instead((request) => request.startsWith('GET /metrics') && /Origin: /.test(request), answer('200 OK'));
    case 'any-method': return instead((request) => !/^(GET|HEAD) /.test(request), answer('200 OK'));
    case 'any-path': return instead((request) => !/^\S+ \/(livez|readyz|metrics) /.test(request), answer('200 OK'));
    case 'answers': return instead(() => true, answer('200 OK'));
    default: throw new Error(`http:${argument}: no such mutation`);
  }
}

export const linkMutations: Readonly<Record<string, MakeMutation>> = {
  preface: (argument) => {
    const make = PREFACES[argument];
    if (make === undefined) throw new Error(`preface:${argument}: no such mutation`);
    return make();
  },
  http,
  'hold-open': () => ({ serverEnded: () => true }),
  'ignore-broken-frames': ignoreBroken,
  'end-when-silent': endWhenSilent,
  'chunks-only': chunksOnly,
  'proxy-buffers-all': () => ({ buffersAll: true }),
  'wait-for-payload': () => ({ request: () => null }),
  'deaf-to-first-chunk': () => ({ accepted: (link) => void link.memory.set('drop first chunk', true) }),
  'reset-on-half-close': () => ({
    clientEnded(link) {
      link.destroy();
      return true;
    },
  }),
  /** Nothing changed: the proxy itself must not be seen. */
  pristine: () => ({}),
};

