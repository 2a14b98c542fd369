import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** A certificate that vouches for itself. */
export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

/** Makes one for these names and addresses; whoever trusts `cert` trusts the server. */
export function makeCertificate(names: readonly string[]): Certificate {
  const folder = mkdtempSync(path.join(tmpdir(), 'sw-cert-'));
  try {
    const alt = names.map((name) => (/^[\d.]+$|:/.test(name) ? `IP:${name}` : `DNS:${name}`)).join(',');
    const [key, cert] = [path.join(folder, 'key.pem'), path.join(folder, 'cert.pem')];
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '2',
        '-subj',
        '/CN=test',
      ].concat(['-keyout', key, '-out', cert, '-addext', `subjectAltName=${alt}`]),
      { stdio: 'ignore' },
    );
    return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
