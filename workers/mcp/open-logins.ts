import {
  type AuthProvider,
  auth,
  extractWWWAuthenticateParams,
  type OAuthDiscoveryState,
  OAuthError,
  refreshAuthorization,
  resourceUrlFromServerUrl,
  type StoredOAuthClientInformation,
  type StoredOAuthTokens,
} from '@modelcontextprotocol/client';
import { z } from 'zod';
import { appendAudit } from '#core/audit/append-audit.ts';
import { findPrivatePlaces } from '#core/broadcast/find-private-places.ts';
import type { Db, Tx } from '#core/kit/database.ts';
import { AppError, isAppError } from '#core/kit/errors.ts';
import { newId, newToken, sha256 } from '#core/kit/ids.ts';
import {
  bindBrowser,
  deleteClient,
  deleteGrants,
  hasRecentLogin,
  insertLogin,
  lockGrant,
  putClient,
  putGrant,
  selectClient,
  selectGrants,
  selectLoginByTicket,
  useLogin,
} from '#core/mcp/login-store.ts';
import type { McpServer, RemoteServer } from '#core/mcp/mcp-server.ts';
import { clientScope, grantScope, loginScope } from '#core/mcp/seal-scopes.ts';
import type { Sealer } from '#core/mcp/sealer.ts';
import { putMessages } from '#core/outbox/put-messages.ts';
import type { CredentialSource } from '#core/vault/credential.ts';
import { toMcpError } from './mcp-error.ts';
import { clientMetadata, type FlowStore, type LoginDraft, LoginFlow } from './oauth-provider.ts';

/** How long a link to log in can be used. */
const loginMs = 10 * 60_000;
/** A token is renewed when it would end within this time. */
const earlyMs = 30_000;

export interface LoginsDeps {
  readonly db: Db;
  readonly sealer: Sealer;
  readonly servers: ReadonlyMap<string, McpServer>;
  readonly fetchFor: (server: RemoteServer) => typeof fetch;
  readonly credentials: CredentialSource;
  /** Where our gateway is reached by a browser; undefined while that is not known. */
  readonly baseUrl: () => string | undefined;
  /** Makes the redactor know a token. */
  readonly learnSecret: (secret: { readonly label: string; readonly value: string }) => void;
}

/** A login as its page shows it. */
interface LoginPage {
  readonly personName: string;
  readonly server: string;
  /** Where the browser is sent. */
  readonly host: string;
}

/** Logins of people at MCP servers that use OAuth. */
export interface Logins {
  /** Puts the person's token on requests, renews it, and sends them a link when there is none. */
  authFor(server: RemoteServer, personId: string | undefined): AuthProvider;
  /** Begins a login. @returns the address of our own page, for that person alone. */
  begin(server: RemoteServer, personId: string): Promise<string>;
  /** @returns undefined when the link was used or is over. */
  page(ticket: string): Promise<LoginPage | undefined>;
  /** The person said on our page that it is them. @returns where to go, and what the browser has to bring back. */
  confirm(ticket: string): Promise<{ readonly url: string; readonly browser: string } | undefined>;
  /**
   * The browser is back from the authorization server.
   * @throws AppError `mcp.login_failed`; nothing the other side wrote is in it.
   */
  finish(params: URLSearchParams, browser: string | undefined): Promise<{ readonly server: string }>;
  /** Forgets what the person was given. @returns whether there was anything. */
  logout(server: RemoteServer, personId: string): Promise<boolean>;
  /** What we say of ourselves at our own address, as an OAuth client. */
  clientDocument(): Readonly<Record<string, unknown>> | undefined;
}

/** What is sealed of a grant. */
interface KeptGrant {
  readonly tokens: StoredOAuthTokens;
  readonly discovery: OAuthDiscoveryState;
  readonly redirectUrl: string;
  /** In milliseconds since 1970; undefined when the server did not say. */
  readonly expiresAt: number | undefined;
}

const keptSchema = z.object({
  tokens: z.looseObject({ access_token: z.string(), refresh_token: z.string().optional() }),
  discovery: z.looseObject({ authorizationServerUrl: z.string() }),
  redirectUrl: z.string(),
  expiresAt: z.number().optional(),
});

const draftSchema = z.object({
  redirectUrl: z.string(),
  verifier: z.string(),
  discovery: z.looseObject({ authorizationServerUrl: z.string() }),
  authorizationUrl: z.string(),
});

const clientSchema = z.looseObject({ client_id: z.string() });

export function openLogins(deps: LoginsDeps): Logins {
  const { db, sealer } = deps;

  const base = (): string => {
    const url = deps.baseUrl();
    if (url === undefined) {
      throw new AppError('mcp.login_failed', 'Nobody can log in: it is not known where this installation is reached.', {
        mend: 'Set SWITCHYARD_PUBLIC_URL to the address people reach it at.',
      });
    }
    return url.replace(/\/$/, '');
  };
  const redirectUrl = (): string => `${base()}/mcp/callback`;
  const documentUrl = (): string | undefined =>
    base().startsWith('https:') ? `${base()}/mcp/client-metadata.json` : undefined;

  /** What was sealed under a master key that was rotated away is got again by logging in. */
  const reopen = async (scope: string, sealed: string): Promise<string | undefined> => {
    try {
      return await sealer.open(scope, sealed);
    } catch (err) {
      if (isAppError(err, 'vault.unavailable')) return undefined;
      throw err;
    }
  };
  const learn = (tokens: { readonly access_token: string; readonly refresh_token?: string | undefined }): void => {
    for (const value of [tokens.access_token, tokens.refresh_token]) {
      if (value !== undefined) deps.learnSecret({ label: 'login at an MCP server', value });
    }
  };

  const loadClient = async (
    server: RemoteServer,
    issuer: string,
    redirect: string,
  ): Promise<StoredOAuthClientInformation | undefined> => {
    const { clientId, clientSecret } = server.oauth;
    if (clientId !== undefined) {
      const host = new URL(issuer).hostname;
      const secret =
        clientSecret === undefined ? undefined : await deps.credentials.resolve(clientSecret, { agent: 'mcp', host });
      return { client_id: clientId, issuer, ...(secret === undefined ? {} : { client_secret: secret }) };
    }
    const sealed = await selectClient(db, issuer, redirect);
    const text = sealed === undefined ? undefined : await reopen(clientScope(issuer, redirect), sealed);
    if (text === undefined) return undefined;
    return clientSchema.parse(JSON.parse(text));
  };

  const storeFor = (server: RemoteServer, saveTokens: FlowStore['saveTokens']): FlowStore => ({
    loadClient: async (issuer, redirect) => await loadClient(server, issuer, redirect),
    saveClient: async (issuer, redirect, client) => {
      if (server.oauth.clientId !== undefined) return;
      const sealed = await sealer.seal(clientScope(issuer, redirect), JSON.stringify(client));
      await putClient(db, { issuer, redirectUri: redirect, sealed });
    },
    dropClient: async (issuer, redirect) => await deleteClient(db, issuer, redirect),
    saveTokens,
  });

  const saveGrant = async (tx: Db | Tx, personId: string, resource: string, issuer: string, kept: KeptGrant) => {
    learn(kept.tokens);
    const sealed = await sealer.seal(grantScope(personId, issuer, resource), JSON.stringify(kept));
    await putGrant(tx, { personId, issuer, resource, sealed });
  };

  const readGrant = async (
    tx: Db | Tx,
    personId: string,
    resource: string,
  ): Promise<(KeptGrant & { readonly issuer: string }) | undefined> => {
    const [row] = await selectGrants(tx, personId, resource);
    const text = row === undefined ? undefined : await reopen(grantScope(personId, row.issuer, resource), row.sealed);
    if (row === undefined || text === undefined) return undefined;
    const kept = keptSchema.parse(JSON.parse(text)) as unknown as KeptGrant;
    learn(kept.tokens);
    return { ...kept, issuer: row.issuer };
  };

  /** A fresh token in place of `stale`, or undefined when the person has to log in again. One process does it at a time. */
  const renew = async (server: RemoteServer, personId: string, stale: string): Promise<string | undefined> =>
    await db.transaction().execute(async (tx) => {
      await lockGrant(tx, personId, server.url);
      const grant = await readGrant(tx, personId, server.url);
      if (grant === undefined) return undefined;
      if (grant.tokens.access_token !== stale) return grant.tokens.access_token;
      const { refresh_token: refreshToken } = grant.tokens;
      const client = await loadClient(server, grant.issuer, grant.redirectUrl);
      const { authorizationServerMetadata: metadata, authorizationServerUrl } = grant.discovery;
      if (refreshToken === undefined || client === undefined) return undefined;
      try {
        const tokens = await refreshAuthorization(authorizationServerUrl, {
          ...(metadata === undefined ? {} : { metadata }),
          clientInformation: client,
          refreshToken,
          resource: resourceUrlFromServerUrl(server.url),
          fetchFn: deps.fetchFor(server),
        });
        await saveGrant(tx, personId, server.url, grant.issuer, { ...grant, tokens, expiresAt: endOf(tokens) });
        return tokens.access_token;
      } catch (err) {
        if (!(err instanceof OAuthError)) throw toMcpError(server.name, err);
        // The authorization server took it back.
        await deleteGrants(tx, personId, server.url);
        return undefined;
      }
    });

  const begin: Logins['begin'] = async (server, personId) => await beginAt(server, personId, {});

  const beginAt = async (
    server: RemoteServer,
    personId: string,
    hint: { readonly resourceMetadataUrl?: URL; readonly scope?: string },
  ): Promise<string> => {
    const [ticket, state, id] = [newToken(32), newToken(32), newId()];
    const flow = new LoginFlow(server, storeFor(server, noTokens), {
      redirectUrl: redirectUrl(),
      clientMetadataUrl: documentUrl(),
      state,
    });
    const scope = server.oauth.scopes?.join(' ') ?? hint.scope;
    try {
      await auth(flow, {
        serverUrl: server.url,
        fetchFn: deps.fetchFor(server),
        ...(hint.resourceMetadataUrl === undefined ? {} : { resourceMetadataUrl: hint.resourceMetadataUrl }),
        ...(scope === undefined ? {} : { scope }),
      });
    } catch (err) {
      throw loginError(server, err);
    }
    const { draft } = flow;
    if (draft === undefined) throw new AppError('mcp.login_failed', `"${server.name}" sent nobody anywhere to log in.`);
    const sealed = await sealer.seal(loginScope(id, personId), JSON.stringify(draft));
    await insertLogin(db, {
      id,
      personId,
      server: server.name,
      sealed,
      ticketHash: sha256(`mcp-ticket:${ticket}`),
      stateHash: sha256(`mcp-state:${state}`),
      validMs: loginMs,
    });
    return `${base()}/mcp/login/${ticket}`;
  };

  const openDraft = async (login: { readonly id: string; readonly personId: string; readonly sealed: string }) => {
    const text = await sealer.open(loginScope(login.id, login.personId), login.sealed);
    return draftSchema.parse(JSON.parse(text)) as LoginDraft;
  };

  const askToLogIn = async (server: RemoteServer, personId: string, response: Response): Promise<AppError> => {
    const places = await findPrivatePlaces(db, personId);
    if (places.length === 0) {
      return new AppError('mcp.login_needed', `The MCP server "${server.name}" wants a login.`, {
        mend: 'Write to me in private once, so that I can send you the link, and ask again.',
      });
    }
    if (!(await hasRecentLogin(db, personId, server.name))) {
      const { resourceMetadataUrl, scope } = extractWWWAuthenticateParams(response);
      const url = await beginAt(server, personId, {
        ...(resourceMetadataUrl === undefined ? {} : { resourceMetadataUrl }),
        ...(scope === undefined ? {} : { scope }),
      });
      const key = `mcp-login:${newId()}`;
      await putMessages(
        db,
        places.map(({ conversation }, index) => ({
          key: `${key}:${index}`,
          conversation,
          importance: 'notice' as const,
          validMs: loginMs,
          body: {
            parts: [
              {
                type: 'notice' as const,
                level: 'info' as const,
                markdown: `The MCP server \`${server.name}\` wants to know that it is you. This link is for you alone and works for ten minutes: ${url}`,
              },
            ],
          },
        })),
      );
    }
    return new AppError('mcp.login_needed', `The MCP server "${server.name}" wants whoever asked to log in.`, {
      mend: 'They were sent a link in private. Tell them to use it and then to ask again.',
    });
  };

  return {
    begin,
    authFor: (server, personId) => {
      let used: string | undefined;
      return {
        token: async () => {
          if (personId === undefined) return undefined;
          const grant = await readGrant(db, personId, server.url);
          used = grant?.tokens.access_token;
          if (grant?.expiresAt !== undefined && grant.expiresAt < Date.now() + earlyMs && used !== undefined) {
            used = await renew(server, personId, used);
          }
          return used;
        },
        onUnauthorized: async ({ response }) => {
          if (personId === undefined) {
            throw new AppError('mcp.login_needed', `The MCP server "${server.name}" works for people who logged in.`, {
              mend: 'This work has no person behind it; start it from a chat.',
            });
          }
          if (used !== undefined && (await renew(server, personId, used)) !== undefined) return;
          throw await askToLogIn(server, personId, response);
        },
      };
    },
    page: async (ticket) => {
      const login = await selectLoginByTicket(db, sha256(`mcp-ticket:${ticket}`));
      if (login === undefined) return undefined;
      const { authorizationUrl } = await openDraft(login);
      return { personName: login.personName, server: login.server, host: new URL(authorizationUrl).host };
    },
    confirm: async (ticket) => {
      const ticketHash = sha256(`mcp-ticket:${ticket}`);
      const login = await selectLoginByTicket(db, ticketHash);
      if (login === undefined) return undefined;
      const browser = newToken(32);
      if (!(await bindBrowser(db, ticketHash, sha256(`mcp-browser:${browser}`)))) return undefined;
      return { url: (await openDraft(login)).authorizationUrl, browser };
    },
    finish: async (params, browser) => {
      const [state, code, iss] = [params.get('state'), params.get('code'), params.get('iss')];
      const login =
        state === null || browser === undefined
          ? undefined
          : await useLogin(db, sha256(`mcp-state:${state}`), sha256(`mcp-browser:${browser}`));
      const server = login === undefined ? undefined : deps.servers.get(login.server);
      if (login === undefined || server?.kind !== 'remote') {
        throw new AppError('mcp.login_failed', 'This login is over, was used before, or began in another browser.', {
          mend: 'Ask for a new link.',
        });
      }
      const draft = await openDraft(login);
      const store = storeFor(server, async (issuer, tokens) => {
        const kept = { tokens, discovery: draft.discovery, redirectUrl: draft.redirectUrl, expiresAt: endOf(tokens) };
        await db.transaction().execute(async (tx) => {
          await saveGrant(tx, login.personId, server.url, issuer, kept);
          await tellDone(tx, login.personId, server.name, login.id);
          await appendAudit(tx, [loginRecord('mcp.login', login.personId, server.name, issuer)]);
        });
      });
      const flow = new LoginFlow(server, store, {
        redirectUrl: draft.redirectUrl,
        clientMetadataUrl: documentUrl(),
        state: '',
        draft,
      });
      if (code === null) {
        throw new AppError('mcp.login_failed', `The login at "${server.name}" was refused.`, {
          mend: 'Ask for a new link.',
        });
      }
      try {
        await auth(flow, {
          serverUrl: server.url,
          authorizationCode: code,
          ...(iss === null ? {} : { iss }),
          fetchFn: deps.fetchFor(server),
        });
      } catch (err) {
        throw loginError(server, err);
      }
      return { server: server.name };
    },
    logout: async (server, personId) =>
      await db.transaction().execute(async (tx) => {
        const hadAny = (await deleteGrants(tx, personId, server.url)) > 0;
        if (hadAny) await appendAudit(tx, [loginRecord('mcp.logout', personId, server.name, undefined)]);
        return hadAny;
      }),
    clientDocument: () => {
      if (deps.baseUrl() === undefined) return undefined;
      const url = documentUrl();
      return url === undefined ? undefined : { client_id: url, client_uri: base(), ...clientMetadata(redirectUrl()) };
    },
  };
}

/** When tokens end, in milliseconds since 1970; undefined when the server did not say. */
function endOf(tokens: StoredOAuthTokens): number | undefined {
  return tokens.expires_in === undefined ? undefined : Date.now() + tokens.expires_in * 1000;
}

async function noTokens(): Promise<void> {
  await Promise.reject(new AppError('invariant.broken', 'A login that only begins was given tokens.'));
}

/** An error of a login. Texts of the other side may be an attacker's and are not repeated. */
function loginError(server: RemoteServer, err: unknown): AppError {
  const known = toMcpError(server.name, err);
  if (known.code.startsWith('egress.') || known.code.startsWith('credential.')) return known;
  if (known.code === 'mcp.login_failed') return known;
  return new AppError('mcp.login_failed', `The login at "${server.name}" did not work.`, {
    mend: 'Ask for a new link; if it fails again, the operator finds the reason in the log.',
    cause: err,
  });
}

async function tellDone(tx: Tx, personId: string, server: string, loginId: string): Promise<void> {
  const places = await findPrivatePlaces(tx, personId);
  await putMessages(
    tx,
    places.map(({ conversation }, index) => ({
      key: `mcp-login:${loginId}:done:${index}`,
      conversation,
      importance: 'notice' as const,
      body: {
        parts: [
          {
            type: 'notice' as const,
            level: 'success' as const,
            markdown: `You are logged in at the MCP server \`${server}\`; agents that work for you may use it. If that was not you, tell an owner at once.`,
          },
        ],
      },
    })),
  );
}

function loginRecord(kind: string, personId: string, server: string, issuer: string | undefined) {
  return { kind, chainKey: `mcp:${server}`, body: { server, personId, issuer } };
}
