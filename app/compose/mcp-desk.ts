import type { McpDesk } from '#cli/cli-deps.ts';
import { sandboxLimitsSchema } from '#core/agents/agent-profile.ts';
import { openAgentDirectory } from '#core/agents/open-agent-directory.ts';
import { systemClock } from '#core/kit/clock.ts';
import type { Db } from '#core/kit/database.ts';
import { newToken } from '#core/kit/ids.ts';
import type { Log } from '#core/kit/log.ts';
import type { McpServer } from '#core/mcp/mcp-server.ts';
import { createSecretBook } from '#core/redaction/secret-book.ts';
import { openCredentials } from '#core/vault/open-credentials.ts';
import type { McpServers } from '#workers/mcp/mcp-servers.ts';
import { keptFilesMs, listServerFiles } from '#workers/mcp/prune-server-files.ts';
import { DockerSandboxes } from '#workers/sandbox/docker-sandboxes.ts';
import type { Config } from '../config.ts';
import { openKek } from '../open-vault.ts';
import { keptServerFiles, openMcpLogins, openMcpServers } from './open-mcp.ts';
import { sandboxOptions } from './sandbox-options.ts';

const agentName = 'mcp-check';

/** What the command line does with MCP servers: look at them, and log in and out. */
export function openMcpDesk(deps: { readonly db: Db; readonly config: Config; readonly log: Log }): McpDesk {
  const { db, config, log } = deps;
  const secrets = createSecretBook();
  const credentials = openCredentials({ db, kek: openKek(config), secrets });
  const services = { db, config, log, credentials, secrets };
  const logins = openMcpLogins(services);
  return {
    servers: config.mcpServers,
    begin: async (server, personId) => await logins.begin(server, personId),
    logout: async (server, personId) => await logins.logout(server, personId),
    keptFiles: async () =>
      (await listServerFiles(keptServerFiles(config))).map(({ server, bytes, usedAt }) => {
        return { server, bytes, usedAt, removedAt: new Date(usedAt.getTime() + keptFilesMs) };
      }),
    check: async (server, personId, signal) => {
      const agents = openAgentDirectory({ db, clock: systemClock });
      await using servers = openMcpServers({ ...services, agents: { find: async (name) => await agents.find(name) } });
      return await look(deps, servers, server, personId, signal);
    },
  };
}

async function look(
  { config, log }: { readonly config: Config; readonly log: Log },
  servers: McpServers,
  server: McpServer,
  personId: string,
  signal: AbortSignal,
): Promise<Awaited<ReturnType<McpDesk['check']>>> {
  const sessionId = `mcp-${newToken(9)}`;
  const session = { sessionId, agentName, personId };
  if (server.kind === 'remote') {
    const sandbox = async () => await Promise.reject(new Error('a remote server has no sandbox'));
    return await servers.look(server, { ...session, sandbox }, signal);
  }
  const options = sandboxOptions(config);
  await using sandboxes = new DockerSandboxes(
    { log },
    {
      ...options,
      limits: { ...options.limits, poolSize: 0 },
      prepareFolders: [async (_spec, directory) => await servers.placeFiles(server, directory)],
    },
  );
  try {
    const spec = { sessionId, agent: agentName, limits: sandboxLimitsSchema.parse({}) };
    return await servers.look(server, { ...session, sandbox: async () => await sandboxes.open(spec, signal) }, signal);
  } finally {
    await sandboxes.forget(sessionId);
  }
}
