import { z } from 'zod';
import type { Risk } from '../permissions/conditions.ts';

/** The name a server has in the project's file; it is part of every tool's name. */
const mcpServerName = /^[a-z][a-z0-9-]{0,23}$/;

const riskSchema = z.enum(['low', 'medium', 'high']);

const toolSchema = z.union([
  z.string().min(1),
  z.strictObject({
    name: z.string().min(1),
    risk: riskSchema.optional(),
    /** `auto`: usable at first sight and after a change, without asking an administrator. */
    pin: z.literal('auto').optional(),
  }),
]);

/** One server of the project's file: with `command` it runs in the session's sandbox, with `url` it is somewhere else. */
const serverSchema = z.strictObject({
  command: z.array(z.string().min(1)).min(1).optional(),
  /** A folder of the project with everything the command needs; stands read-only at `/run/host/mcp/<name>`. */
  files: z.string().min(1).optional(),
  /** Added to the container's variables. Never a secret: the agent's own code could read it. */
  environment: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), z.string()).optional(),
  url: z.url({ protocol: /^https?$/ }).optional(),
  /** `credential:<name>` sends a secret of the vault as bearer token. */
  auth: z
    .string()
    .regex(/^(?:none|oauth|credential:[a-z][a-z0-9_-]{0,63})$/, 'is none, oauth or credential:<name>')
    .optional(),
  /** Plain http and addresses of the own network, for a server the operator runs. */
  allow_private: z.boolean().optional(),
  oauth: z
    .strictObject({
      /** Of a client that was registered by hand; without one the client registers itself. */
      client_id: z.string().min(1).optional(),
      /** Name of a secret in the vault. */
      client_secret: z.string().min(1).optional(),
      scopes: z.array(z.string().min(1)).optional(),
    })
    .optional(),
  /** The only tools agents may see; all of them when left out. */
  tools: z.array(toolSchema).optional(),
  /** Of a call, where its tool does not say otherwise. What the server says of itself does not count. */
  risk: riskSchema.default('medium'),
  /** Longest one call may take, in seconds. */
  timeout_seconds: z.int().min(1).max(3600).default(120),
});

type ServerSetting = z.infer<typeof serverSchema>;

const secretName = /(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$/i;
const ofCommands = ['files', 'environment'] as const;
const ofAddresses = ['auth', 'allow_private', 'oauth'] as const;

/** `mcp.servers` of the project's file. */
export const mcpServersSchema = z.record(
  z.string().regex(mcpServerName, 'is a lower-case name of at most 24 letters, digits and hyphens'),
  serverSchema.superRefine((server, context) => {
    const add = (key: keyof ServerSetting, message: string): void => {
      context.addIssue({ code: 'custom', path: [key], message });
    };
    const { command, url } = server;
    if ((command === undefined) === (url === undefined)) {
      add('command', 'a server has either a command or a url');
      return;
    }
    for (const key of command === undefined ? ofCommands : ofAddresses) {
      if (server[key] !== undefined) {
        add(key, command === undefined ? 'goes with a command, not with a url' : 'goes with a url, not with a command');
      }
    }
    if (url !== undefined && server.allow_private !== true && !url.startsWith('https:')) {
      add('url', 'must be https, or say allow_private: true');
    }
    const secret = Object.keys(server.environment ?? {}).find((name) => secretName.test(name));
    if (secret !== undefined) {
      add(
        'environment',
        `${secret} looks like a secret, and the agent's own code could read it; such a server has to run elsewhere`,
      );
    }
    const program = command?.[0] ?? '';
    if (/(?:^|\/)(?:npx|bunx|uvx|pnpx)$/.test(program)) {
      add(
        'command',
        `${program} fetches code at each start and a sandbox reaches no registry; put the package into "files" and run node <path>`,
      );
    }
  }),
);

/** What an operator says of one tool. */
interface ToolSetting {
  readonly risk: Risk | undefined;
  readonly isAuto: boolean;
}

interface SharedSettings {
  readonly name: string;
  /** By the name the server gives the tool; undefined: all are allowed. */
  readonly tools: ReadonlyMap<string, ToolSetting> | undefined;
  readonly risk: Risk;
  readonly timeoutMs: number;
}

/** A server that runs inside the session's sandbox and is spoken to over its pipes. */
export interface StdioServer extends SharedSettings {
  readonly kind: 'stdio';
  readonly command: readonly string[];
  /** Absolute. */
  readonly files: string | undefined;
  readonly environment: Readonly<Record<string, string>>;
}

/** A server somewhere else, spoken to over Streamable HTTP. */
export interface RemoteServer extends SharedSettings {
  readonly kind: 'remote';
  readonly url: string;
  readonly auth: { readonly kind: 'none' | 'oauth' } | { readonly kind: 'credential'; readonly name: string };
  readonly allowsPrivate: boolean;
  readonly oauth: {
    readonly clientId: string | undefined;
    readonly clientSecret: string | undefined;
    readonly scopes: readonly string[] | undefined;
  };
}

export type McpServer = StdioServer | RemoteServer;

/**
 * The servers of the project's file, by name.
 * @param folderOf makes a path of the file absolute.
 */
export function toMcpServers(
  servers: z.infer<typeof mcpServersSchema>,
  folderOf: (relative: string) => string,
): ReadonlyMap<string, McpServer> {
  return new Map(Object.entries(servers).map(([name, setting]) => [name, toServer(name, setting, folderOf)]));
}

function toServer(name: string, setting: ServerSetting, folderOf: (relative: string) => string): McpServer {
  const { command = [], files, environment = {}, url, auth = 'none', oauth = {} } = setting;
  const shared: SharedSettings = {
    name,
    tools: setting.tools === undefined ? undefined : new Map(setting.tools.map(toSetting)),
    risk: setting.risk,
    timeoutMs: setting.timeout_seconds * 1000,
  };
  if (url === undefined) {
    const folder = files === undefined ? undefined : folderOf(files);
    return { kind: 'stdio', ...shared, command, files: folder, environment };
  }
  const credential = /^credential:(.+)$/.exec(auth)?.[1];
  return {
    kind: 'remote',
    ...shared,
    url: new URL(url).href,
    auth:
      credential === undefined
        ? { kind: auth === 'oauth' ? 'oauth' : 'none' }
        : { kind: 'credential', name: credential },
    allowsPrivate: setting.allow_private ?? false,
    oauth: { clientId: oauth.client_id, clientSecret: oauth.client_secret, scopes: oauth.scopes },
  };
}

function toSetting(tool: z.infer<typeof toolSchema>): [string, ToolSetting] {
  return typeof tool === 'string'
    ? [tool, { risk: undefined, isAuto: false }]
    : [tool.name, { risk: tool.risk, isAuto: tool.pin === 'auto' }];
}

/** Whether agents may see this tool at all. */
export function isListed(server: McpServer, tool: string): boolean {
  return server.tools === undefined || server.tools.has(tool);
}

/** How risky a call of this tool is, by the operator's word only. */
export function riskOf(server: McpServer, tool: string): Risk {
  return server.tools?.get(tool)?.risk ?? server.risk;
}

/** Whether a tool is usable without an administrator: only for code that lies in the project itself. */
export function isTrustedAtSight(server: McpServer, tool: string): boolean {
  return server.kind === 'stdio' && server.files !== undefined && server.tools?.get(tool)?.isAuto === true;
}
