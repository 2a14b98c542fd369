import { accessSync, constants, existsSync, statfsSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import type { Finding } from '#cli/finding.ts';
import type { Config } from '../config.ts';

const gibibyte = 2 ** 30;
/** An empty database takes 40 MB, a sandbox image about 350 MB and a workspace what its agent writes. */
const diskLow = { broken: 0.2 * gibibyte, warn: 2 * gibibyte };

export function checkNode(): Finding {
  const version = process.versions.node;
  if (version.startsWith('24.')) return { name: 'Node', status: 'ok', detail: version };
  return {
    name: 'Node',
    status: 'broken',
    detail: `${version}, not 24`,
    mend: 'Start with ./switchyard, which brings its own.',
  };
}

/** The data directory need not exist yet; then its nearest existing parent must be writable. */
export function checkDataDir(dataDir: string): Finding {
  const name = 'Data';
  try {
    accessSync(nearestExisting(dataDir), constants.W_OK | constants.X_OK);
    return { name, status: 'ok', detail: dataDir };
  } catch {
    const detail = `${dataDir} cannot be written to`;
    return { name, status: 'broken', detail, mend: 'Change its owner, or set SWITCHYARD_DATA_DIR to another folder.' };
  }
}

export function checkDisk(dataDir: string): Finding {
  const { bavail, bsize } = statfsSync(nearestExisting(dataDir));
  const free = bavail * bsize;
  const detail = `${(free / gibibyte).toFixed(1)} GiB free`;
  const mend = 'Free some space, or set SWITCHYARD_DATA_DIR to a larger disk.';
  if (free < diskLow.broken) return { name: 'Disk', status: 'broken', detail, mend };
  if (free < diskLow.warn) return { name: 'Disk', status: 'warn', detail, mend };
  return { name: 'Disk', status: 'ok', detail };
}

/** A port in use is well when what answers there is a gateway. */
export async function checkPort(config: Pick<Config, 'host' | 'port'>): Promise<Finding> {
  const { host, port } = config;
  const name = 'Port';
  const problem = await tryListen(host, port);
  if (problem === undefined) return { name, status: 'ok', detail: port === 0 ? 'any free one' : `${port} is free` };
  if (problem === 'EADDRINUSE') {
    if (await isGateway(host, port)) return { name, status: 'ok', detail: `${port} is in use by a running gateway` };
    const detail = `${port} is in use by another program`;
    return { name, status: 'broken', detail, mend: 'Stop that program, or set SWITCHYARD_PORT to another port.' };
  }
  const detail = `${host}:${port} cannot be listened on (${problem})`;
  return {
    name,
    status: 'broken',
    detail,
    mend: 'Correct SWITCHYARD_HOST and SWITCHYARD_PORT; ports below 1024 need root.',
  };
}

async function tryListen(host: string, port: number): Promise<string | undefined> {
  return await new Promise((resolve) => {
    const server = createServer();
    server.once('error', (err: NodeJS.ErrnoException) => resolve(err.code ?? err.message));
    server.listen(port, host, () => server.close(() => resolve(undefined)));
  });
}

async function isGateway(host: string, port: number): Promise<boolean> {
  const name = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  try {
    const response = await fetch(`http://${name.includes(':') ? `[${name}]` : name}:${port}/healthz`, {
      signal: AbortSignal.timeout(2_000),
    });
    return response.ok && (await response.text()).includes('"alive"');
  } catch {
    return false;
  }
}

function nearestExisting(folder: string): string {
  return existsSync(folder) || path.dirname(folder) === folder ? folder : nearestExisting(path.dirname(folder));
}
