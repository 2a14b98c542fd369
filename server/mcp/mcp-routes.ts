import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { createMcpHandler } from '@modelcontextprotocol/server';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { AppError } from '#core/kit/errors.ts';
import { accessScopes } from '#core/mcp/access-scope.ts';
import { findAccessToken } from '#core/mcp/access-tokens.ts';
import { buildMcpServer, type McpToolsDeps } from './mcp-tools.ts';

const bodyBytesMax = 1024 * 1024;
/** Calls of one token in a minute. */
const callsPerMinute = 120;
const minuteMs = 60_000;

export interface McpRoutesOptions {
  /** Where we are reached from outside, without a final slash; the request's own host when absent. */
  readonly publicUrl: string | undefined;
  /** Requests of one address in a minute, whatever token they carry. */
  readonly requestsPerMinute: number;
}

/**
 * We as an MCP server, for both eras of the protocol. Every request carries a bearer token that was made on the command
 * line; what its scopes do not cover does not exist for it.
 */
export function mcpRoutes(app: FastifyInstance, deps: McpToolsDeps, options: McpRoutesOptions): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: bodyBytesMax }, (_request, body, done) =>
    done(null, body),
  );
  const meter = new Map<string, { since: number; count: number }>();
  const baseOf = (request: FastifyRequest): string => options.publicUrl ?? `${request.protocol}://${request.host}`;
  const metadataUrl = (request: FastifyRequest): string =>
    `${baseOf(request)}/.well-known/oauth-protected-resource/mcp`;

  for (const url of ['/.well-known/oauth-protected-resource', '/.well-known/oauth-protected-resource/mcp']) {
    app.get(url, async (request, reply) =>
      reply.header('cache-control', 'max-age=300').send({
        resource: `${baseOf(request)}/mcp`,
        resource_name: 'Switchyard',
        bearer_methods_supported: ['header'],
        scopes_supported: accessScopes,
      }),
    );
  }

  app.route({
    method: ['GET', 'POST', 'DELETE'],
    url: '/mcp',
    bodyLimit: bodyBytesMax,
    config: { rateLimit: { max: options.requestsPerMinute, timeWindow: minuteMs } },
    handler: async (request, reply) => {
      const given = /^Bearer ([A-Za-z0-9_-]{1,100})$/i.exec(request.headers.authorization ?? '')?.[1];
      const token = given === undefined ? undefined : await findAccessToken(deps.db, given);
      if (token === undefined) {
        void reply.header('www-authenticate', `Bearer resource_metadata="${metadataUrl(request)}"`);
        throw new AppError('request.unauthenticated', 'This needs a token that is in force.', {
          mend: 'An operator makes one: ./switchyard mcp token create',
        });
      }
      count(meter, token.id);
      const handler = createMcpHandler(() => buildMcpServer(deps, token), {
        maxRequestBodySize: bodyBytesMax,
        onerror: (err) => deps.log.debug({ err, tokenId: token.id }, 'an mcp request was refused'),
      });
      const gone = new AbortController();
      reply.raw.once('close', () => gone.abort());
      const response = await handler.fetch(toWebRequest(request, baseOf(request), gone.signal));
      return await send(reply, response);
    },
  });
}

/** @throws AppError `request.too_many` */
function count(meter: Map<string, { since: number; count: number }>, tokenId: string): void {
  const now = Date.now();
  if (meter.size > 10_000) meter.clear();
  const known = meter.get(tokenId);
  const entry = known === undefined || now - known.since > minuteMs ? { since: now, count: 0 } : known;
  entry.count += 1;
  meter.set(tokenId, entry);
  if (entry.count <= callsPerMinute) return;
  const waitMs = entry.since + minuteMs - now;
  throw new AppError('request.too_many', `This token made more than ${callsPerMinute} calls in a minute.`, {
    mend: `Wait ${Math.ceil(waitMs / 1000)} s.`,
    retryAfterMs: waitMs,
  });
}

function toWebRequest(request: FastifyRequest, base: string, signal: AbortSignal): Request {
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    for (const item of [value ?? []].flat()) headers.append(name, item);
  }
  return new Request(new URL('/mcp', base), {
    method: request.method,
    headers,
    signal,
    ...(Buffer.isBuffer(request.body) && request.method === 'POST' ? { body: new Uint8Array(request.body) } : {}),
  });
}

async function send(reply: FastifyReply, response: Response): Promise<FastifyReply> {
  void reply.status(response.status).header('cache-control', 'no-store');
  response.headers.forEach((value, name) => void reply.header(name, value));
  return await (response.body === null
    ? reply.send('')
    : reply.send(Readable.fromWeb(response.body as ReadableStream<Uint8Array>)));
}
