import { readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { createAddressGuard } from '#core/egress/address-guard.ts';
import type { RemoteServer } from '#core/mcp/mcp-server.ts';
import { openSealer } from '#core/mcp/open-sealer.ts';
import type { EgressJournal } from '#workers/egress/egress-journal.ts';
import { createGuardedFetch } from '#workers/egress/guarded-fetch.ts';
import { McpServers } from '#workers/mcp/mcp-servers.ts';
import { type Logins, openLogins } from '#workers/mcp/open-logins.ts';
import { type Config, installDir } from '../config.ts';
import { findGatewayUrl } from '../gateway-file.ts';
import { openKek } from '../open-vault.ts';
import { ownAddresses } from './outside.ts';
import type { Services } from './services.ts';
import { toolNames } from './tools.ts';

type LoginServices = Pick<Services, 'db' | 'config' | 'credentials' | 'secrets'>;

/** Logins of people at MCP servers; gateway and worker each have their own. */
export function openMcpLogins({ db, config, credentials, secrets }: LoginServices): Logins {
  return openLogins({
    db,
    sealer: openSealer(openKek(config)),
    servers: config.mcpServers,
    fetchFor: (server) => fetchFor(config, server),
    credentials,
    baseUrl: () => config.publicUrl ?? findGatewayUrl(config.dataDir),
    learnSecret: (secret) => secrets.add('mcp', secret),
  });
}

/** The MCP clients of a process, with the logins they use. */
export function openMcpServers(
  services: LoginServices & Pick<Services, 'log'> & { readonly agents: Pick<Services['agents'], 'find'> },
  journal?: EgressJournal,
): McpServers {
  const { db, log, config, credentials, agents } = services;
  const logins = openMcpLogins(services);
  return new McpServers({
    db,
    log,
    version: productVersion(),
    servers: config.mcpServers,
    keptDirectory: keptServerFiles(config),
    fetchFor: (server) => fetchFor(config, server),
    ...(journal === undefined ? {} : { journal }),
    credentials,
    authFor: logins.authFor,
    serversOf: async (name) => (await agents.find(name))?.mcp ?? [],
    ownTools: toolNames,
  });
}

/** Where copies of servers' files are kept. */
export function keptServerFiles({ dataDir }: Pick<Config, 'dataDir'>): string {
  return path.join(dataDir, 'mcp');
}

/** What we call ourselves towards servers and clients. */
export function productVersion(): string {
  const file: unknown = JSON.parse(readFileSync(path.join(installDir, 'package.json'), 'utf8'));
  return z.object({ version: z.string() }).parse(file).version;
}

/** The way to a server: the public internet over https, unless the project's file opens the own network for it. */
function fetchFor({ egress }: Config, { allowsPrivate, timeoutMs }: RemoteServer): typeof fetch {
  const closed = [...(allowsPrivate ? [] : ownAddresses()), ...egress.closed];
  return createGuardedFetch({
    ports: 'any',
    firstByteMs: timeoutMs,
    // A call may be silent as long as it may last; the client ends it then.
    idleMs: timeoutMs,
    totalMs: timeoutMs + 10_000,
    allowsHttp: allowsPrivate,
    guard: createAddressGuard({ closed, open: allowsPrivate ? ['0.0.0.0/0', '::/0'] : [] }),
  });
}
