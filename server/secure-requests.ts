import type { FastifyInstance } from 'fastify';
import { AppError } from '#core/kit/errors.ts';

const loopbackHosts = ['127.0.0.1', 'localhost', '[::1]'];

/** Content policy of our own pages: nothing but our style sheet, no scripts at all. */
const pagePolicy =
  "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/** The chat page runs our one script and talks to us only; images it shows are ours. */
const chatPolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/** The queue dashboard is a script application with inline styles; everything still comes from us. */
const boardPolicy =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'self'; frame-ancestors 'none'";

/** Whether a host name or address means this machine only. */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/**
 * Refuses requests that a hostile web page could make through the operator's browser: a foreign Host header on a
 * loopback listener (DNS rebinding) and state changes from another origin. Sets security headers on every answer.
 */
export function secureRequests(
  app: FastifyInstance,
  options: { readonly host: string; readonly hostsAllowed: readonly string[] },
): void {
  const hosts = new Set([...(isLoopback(options.host) ? loopbackHosts : []), ...options.hostsAllowed]);
  app.addHook('onRequest', async (request, reply) => {
    void reply.headers({
      'content-security-policy': policyFor(request.url),
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
    });
    if (hosts.size > 0 && !hosts.has(hostName(request.headers.host ?? ''))) {
      throw new AppError('request.refused', 'This host name is not served here.', {
        mend: `Use ${[...hosts].join(', ')}, or allow the name in the settings.`,
      });
    }
    const origin = request.headers.origin;
    const site = request.headers['sec-fetch-site'];
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    if (!isRead && (site === 'cross-site' || (origin !== undefined && !isSameHost(origin, request.headers.host)))) {
      throw new AppError('request.refused', 'This request came from another web site.');
    }
  });
}

function policyFor(url: string): string {
  if (url.startsWith('/queues')) return boardPolicy;
  return /^\/chat(?:[/?]|$)/.test(url) ? chatPolicy : pagePolicy;
}

function hostName(header: string): string {
  return header.replace(/:\d+$/, '').toLowerCase();
}

function isSameHost(origin: string, host: string | undefined): boolean {
  return URL.canParse(origin) && new URL(origin).host === host;
}
