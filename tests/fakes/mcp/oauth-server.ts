import { createHash, randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { McpServerFactory } from '@modelcontextprotocol/server';
import { type HttpFake, listen, serveHttp } from './serve-http.ts';

/** How an authorization server misbehaves. */
export interface OAuthLies {
  /** Its metadata names another issuer than its address. */
  readonly wrongIssuer?: boolean;
  /** Answers come back as if from another authorization server. */
  readonly wrongIss?: boolean;
  /** Has lost the first client that registered. */
  readonly forgetsClient?: boolean;
  /** The resource's metadata points to this address in place of the authorization server. */
  readonly pointsTo?: string;
}

interface Grant {
  readonly challenge: string;
  readonly redirectUri: string;
  readonly clientId: string;
}

/** A server that wants a login, with its authorization server; both on real sockets. */
export interface OAuthFake extends AsyncDisposable {
  readonly mcpUrl: string;
  readonly issuer: string;
  /** What was sent to the token endpoint, in order. */
  readonly tokenRequests: readonly URLSearchParams[];
  readonly registered: readonly Readonly<Record<string, unknown>>[];
  /** Access tokens the resource was shown. */
  readonly shown: readonly string[];
  /** Says yes for whoever opened the authorization page. @returns where the browser is sent back to. */
  authorize(url: string): Promise<string>;
  /** Access tokens given out so far are not taken any more. */
  expire(): void;
  /** Refresh tokens given out so far are not taken any more. */
  revoke(): void;
}

export async function startOAuth(factory: McpServerFactory, lies: OAuthLies = {}): Promise<OAuthFake> {
  const tokenRequests: URLSearchParams[] = [];
  const registered: Record<string, unknown>[] = [];
  const shown: string[] = [];
  const codes = new Map<string, Grant>();
  let access = new Set<string>();
  let refresh = new Set<string>();
  const issueTokens = () => {
    const tokens = { access_token: randomBytes(24).toString('hex'), refresh_token: randomBytes(24).toString('hex') };
    access.add(tokens.access_token);
    refresh.add(tokens.refresh_token);
    return { ...tokens, token_type: 'Bearer', expires_in: 3600 };
  };
  const send = (
    response: ServerResponse,
    status: number,
    body: unknown,
    headers: Record<string, string> = {},
  ): void => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify(body));
  };

  const authority: HttpFake = await listen(async (request, response, base) => {
    const url = new URL(request.url ?? '/', base);
    switch (url.pathname) {
      case '/.well-known/oauth-authorization-server':
        return send(response, 200, {
          issuer: lies.wrongIssuer === true ? 'https://login.example.com' : base,
          authorization_endpoint: `${base}/authorize`,
          token_endpoint: `${base}/token`,
          registration_endpoint: `${base}/register`,
          response_types_supported: ['code'],
          grant_types_supported: ['authorization_code', 'refresh_token'],
          code_challenge_methods_supported: ['S256'],
          token_endpoint_auth_methods_supported: ['none'],
          authorization_response_iss_parameter_supported: true,
        });
      case '/register': {
        const client = JSON.parse((await read(request)).toString()) as Record<string, unknown>;
        registered.push(client);
        return send(response, 201, { ...client, client_id: `client-${registered.length}` });
      }
      case '/authorize': {
        const redirectUri = url.searchParams.get('redirect_uri') ?? '';
        const code = randomBytes(12).toString('hex');
        codes.set(code, {
          challenge: url.searchParams.get('code_challenge') ?? '',
          redirectUri,
          clientId: url.searchParams.get('client_id') ?? '',
        });
        const back = new URL(redirectUri);
        back.searchParams.set('code', code);
        back.searchParams.set('state', url.searchParams.get('state') ?? '');
        back.searchParams.set('iss', lies.wrongIss === true ? 'https://login.example.com' : base);
        response.writeHead(302, { location: back.href });
        return void response.end();
      }
      case '/token': {
        const form = new URLSearchParams((await read(request)).toString());
        tokenRequests.push(form);
        if (lies.forgetsClient === true && form.get('client_id') === 'client-1') {
          return send(response, 401, { error: 'invalid_client' });
        }
        if (form.get('grant_type') === 'refresh_token') {
          const given = form.get('refresh_token') ?? '';
          // Used twice, it is revoked: servers take that for a theft.
          if (!refresh.delete(given)) return send(response, 400, { error: 'invalid_grant' });
          return send(response, 200, issueTokens());
        }
        const grant = codes.get(form.get('code') ?? '');
        codes.delete(form.get('code') ?? '');
        const verifier = createHash('sha256')
          .update(form.get('code_verifier') ?? '')
          .digest('base64url');
        const fits =
          grant !== undefined &&
          grant.challenge === verifier &&
          grant.redirectUri === form.get('redirect_uri') &&
          grant.clientId === form.get('client_id');
        return fits ? send(response, 200, issueTokens()) : send(response, 400, { error: 'invalid_grant' });
      }
      default:
        return send(response, 404, {});
    }
  });

  const resource: HttpFake = await serveHttp(factory, {
    before: (request, response) => {
      const base = `http://${request.headers.host}`;
      if (request.url?.startsWith('/.well-known/oauth-protected-resource') === true) {
        send(response, 200, { resource: `${base}/mcp`, authorization_servers: [lies.pointsTo ?? authority.url] });
        return true;
      }
      const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
      if (token !== '') shown.push(token);
      if (access.has(token)) return false;
      const metadata = `${base}/.well-known/oauth-protected-resource/mcp`;
      send(response, 401, { error: 'invalid_token' }, { 'www-authenticate': `Bearer resource_metadata="${metadata}"` });
      return true;
    },
  });

  return {
    mcpUrl: `${resource.url}/mcp`,
    issuer: authority.url,
    tokenRequests,
    registered,
    shown,
    authorize: async (url) => {
      const response = await fetch(url, { redirect: 'manual' });
      return response.headers.get('location') ?? '';
    },
    expire: () => {
      access = new Set();
    },
    revoke: () => {
      refresh = new Set();
    },
    [Symbol.asyncDispose]: async () => {
      await resource[Symbol.asyncDispose]();
      await authority[Symbol.asyncDispose]();
    },
  };
}

async function read(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
