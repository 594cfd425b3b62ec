// A self-signed certificate for localhost, made in memory: a few lines of DER around node:crypto, so
// that tests of TLS need neither files nor an openssl command. For tests alone.
import { createSign, generateKeyPairSync, randomBytes } from 'node:crypto';

export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

function der(tag: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const length = body.length < 0x80 ? [body.length] : body.length < 0x100 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}
const sequence = (...parts: Buffer[]): Buffer => der(0x30, ...parts);
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'));
const integer = (bytes: Buffer): Buffer => der(0x02, bytes[0]! & 0x80 ? Buffer.concat([Buffer.alloc(1), bytes]) : bytes);
const utcTime = (ms: number): Buffer => der(0x17, Buffer.from(`${new Date(ms).toISOString().replace(/[-:T]/g, '').slice(2, 14)}Z`));

const ECDSA_SHA256 = sequence(oid('2a8648ce3d040302'));
const DAY_MS = 86_400_000;

/** DER wants numbers without a leading zero byte. */
function serial(): Buffer {
  const bytes = randomBytes(8);
  bytes[0] = 0x40 | (bytes[0]! & 0x3f);
  return bytes;
}

export function selfSigned(name = 'localhost'): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const distinguished = sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(name)))));
  // subjectAltName: DNS localhost, IP 127.0.0.1, ::1 and 127.0.0.9; basicConstraints: CA, so that it can be trusted itself.
  const names = sequence(
    der(0x82, Buffer.from(name)), der(0x87, Buffer.from([127, 0, 0, 1])), der(0x87, Buffer.from([127, 0, 0, 9])),
    der(0x87, Buffer.from('00000000000000000000000000000001', 'hex')),
  );
  const extensions = der(0xa3, sequence(
    sequence(oid('551d11'), der(0x04, names)),
    sequence(oid('551d13'), der(0x01, Buffer.from([0xff])), der(0x04, sequence(der(0x01, Buffer.from([0xff]))))),
  ));
  const body = sequence(
    der(0xa0, integer(Buffer.from([2]))), integer(serial()), ECDSA_SHA256, distinguished,
    sequence(utcTime(Date.now() - DAY_MS), utcTime(Date.now() + 30 * DAY_MS)), distinguished,
    publicKey.export({ type: 'spki', format: 'der' }), extensions,
  );
  const signature = createSign('sha256').update(body).sign(privateKey);
  const whole = sequence(body, ECDSA_SHA256, der(0x03, Buffer.alloc(1), signature));
  const cert = `-----BEGIN CERTIFICATE-----\n${whole.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`;
  return { cert, key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string };
}
