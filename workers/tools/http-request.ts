import { STATUS_CODES } from 'node:http';
import { z } from 'zod';
import { describeBytes } from '#core/files/file-name.ts';
import { AppError } from '#core/kit/errors.ts';
import { htmlToText } from '../egress/html-to-text.ts';
import type { OutsideAnswer, OutsideClient } from '../egress/outside-client.ts';
import { decodeText, isHtmlType, isTextType, outsideData } from './outside-data.ts';
import { outsideUrlSchema, resourceOf } from './outside-url.ts';
import type { ClaimPart, Risk, Tool, ToolResult } from './tool.ts';
import { truncateMiddle } from './tool-output.ts';

const mebibyte = 1 << 20;
/** Read for a model; more than it is shown, so that the shown part can be cut well. */
const shownBytesMax = mebibyte;
/** Saved to a file; what one frame to the sandbox takes. */
const savedBytesMax = 12 * mebibyte;
const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD'] as const;
const risks: Readonly<Record<(typeof methods)[number], Risk>> = {
  GET: 'low',
  HEAD: 'low',
  POST: 'medium',
  PUT: 'medium',
  PATCH: 'medium',
  DELETE: 'high',
};
/** Headers of an answer that tell a caller something. */
const shownHeaders = [
  'content-type',
  'content-length',
  'location',
  'etag',
  'last-modified',
  'link',
  'retry-after',
  'www-authenticate',
  'allow',
];

const parameters = z.strictObject({
  url: outsideUrlSchema.describe('Whole address with https://.'),
  method: z.enum(methods).optional().describe('Default: GET.'),
  headers: z
    .record(
      z.string().regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/),
      z
        .string()
        .max(8_192)
        .regex(/^[\t -~\u0080-\u00ff]*$/),
    )
    .optional()
    .describe('Request headers. $CRED{name} in a value stands for a stored credential.'),
  body: z
    .string()
    .max(4 * mebibyte)
    .optional()
    .describe('Text to send, such as JSON.'),
  body_file: z.string().min(1).max(4096).optional().describe('Workspace file to send instead of body.'),
  save_to: z
    .string()
    .min(1)
    .max(4096)
    .optional()
    .describe('Save the answer to this workspace file instead of showing it.'),
});

type Arguments = z.infer<typeof parameters>;

/** Makes one HTTP request by the agent's egress rules. */
export function httpRequestTool(deps: { readonly outside: OutsideClient }): Tool<Arguments> {
  return {
    name: 'http_request',
    description:
      'Call an HTTP API. Reaches only the hosts of the agent’s egress rules; a refusal says what is missing. Returns ' +
      'status, main headers and text; with save_to the body goes to a file. To read a web page use web_fetch. Credentials ' +
      'of a host are put in by the platform; never write a secret into a request.',
    parameters,
    isParallelSafe: false,
    isIdempotent: false,
    claim: (args) => claimOf(args),
    run: async (args, context) => {
      const { method = 'GET', headers = {}, body, body_file, save_to } = args;
      if (body !== undefined && body_file !== undefined) {
        return { text: 'Not sent: give body or body_file, not both.', isError: true };
      }
      const { agent, sessionId, turnId, signal } = context;
      let bytes: Uint8Array | undefined = body === undefined ? undefined : Buffer.from(body);
      if (body_file !== undefined) {
        const sandbox = await context.sandbox();
        const file = await sandbox.readBytes(body_file, { bytesMax: savedBytesMax, signal });
        if (file.totalBytes > savedBytesMax) {
          return {
            text: `Not sent: ${body_file} has ${describeBytes(file.totalBytes)}; ${describeBytes(savedBytesMax)} can be sent.`,
            isError: true,
          };
        }
        bytes = file.bytes;
      }
      const given = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
      const type = given['content-type'] ?? (body !== undefined && isJson(body) ? 'application/json' : undefined);
      const answer = await deps.outside.request(
        { sessionId, turnId, agent: agent.name, rules: agent.egress },
        {
          url: new URL(args.url.trim()),
          method,
          headers: { ...given, ...(bytes === undefined || type === undefined ? {} : { 'content-type': type }) },
          ...(bytes === undefined ? {} : { body: bytes }),
          bytesMax: save_to === undefined ? shownBytesMax : savedBytesMax,
          signal,
        },
      );
      const head = headOf(answer);
      if (answer.redirect !== undefined) {
        return {
          text: `${head}\n\nIt redirects to ${answer.redirect.href}, which was not followed: ask for it if it is wanted.`,
          isError: false,
        };
      }
      if (save_to === undefined) return show(answer, head);
      if (answer.isCut) {
        throw new AppError(
          'egress.too_large',
          `The answer is larger than ${describeBytes(savedBytesMax)} and was not saved.`,
        );
      }
      const sandbox = await context.sandbox();
      const written = await sandbox.writeFile(save_to, answer.bytes, { append: false, signal });
      return { text: `${head}\n\nSaved ${describeBytes(written.bytes)} to ${save_to}.`, isError: answer.status >= 400 };
    },
  };
}

function claimOf(args: Arguments) {
  const method = args.method ?? 'GET';
  const url = new URL(args.url.trim());
  const also: ClaimPart[] = [
    ...(args.body_file === undefined ? [] : [{ action: 'file.read', resource: args.body_file }]),
    ...(args.save_to === undefined ? [] : [{ action: 'file.write', resource: args.save_to }]),
  ];
  const size = args.body_file ?? (args.body === undefined ? '' : `${Buffer.byteLength(args.body)} bytes`);
  return {
    action: 'http.request',
    resource: resourceOf(url),
    risk: risks[method],
    summary: `${method} ${url.href.slice(0, 300)}${size === '' ? '' : ` with ${size}`}`,
    ...(also.length === 0 ? {} : { also }),
  };
}

function headOf(answer: OutsideAnswer): string {
  const lines = shownHeaders.flatMap((name) => {
    const value = answer.headers[name];
    return value === undefined ? [] : [`${name}: ${value.slice(0, 500)}`];
  });
  const limits = Object.entries(answer.headers).filter(([name]) => /^(?:x-)?ratelimit-/.test(name));
  return [
    `HTTP ${answer.status} ${STATUS_CODES[answer.status] ?? ''}`.trimEnd(),
    ...lines,
    ...limits.slice(0, 4).map(([name, value]) => `${name}: ${value.slice(0, 100)}`),
  ].join('\n');
}

function show(answer: OutsideAnswer, head: string): ToolResult {
  const type = answer.headers['content-type'] ?? '';
  const isError = answer.status >= 400;
  if (answer.bytes.length === 0) return { text: `${head}\n\n(no body)`, isError };
  if (!isTextType(type)) {
    return {
      text: `${head}\n\nThe body is ${type} (${describeBytes(answer.bytes.length)}); use save_to to keep it as a file.`,
      isError,
    };
  }
  const text = decodeText(answer.bytes, type);
  const readable = truncateMiddle(isHtmlType(type) ? htmlToText(text) : text);
  const cut = answer.isCut
    ? `\n\n[The body is longer than ${describeBytes(shownBytesMax)}; use save_to for all of it.]`
    : '';
  return { text: `${head}\n\n${outsideData(answer.url.host, readable)}${cut}`, isError };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
