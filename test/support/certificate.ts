// A self-signed certificate for localhost and 127.0.0.1, made by openssl; null where there is none.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { temporaryFolder } from './sidecar.ts';

export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export function makeCertificate(): Certificate | null {
  const folder = temporaryFolder();
  const files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
  const { status } = spawnSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '30', '-subj', '/CN=localhost',
    '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', files.key, '-out', files.cert,
  ]);
  return status === 0 ? files : null;
}
