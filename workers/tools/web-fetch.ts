import { z } from 'zod';
import { describeBytes, safeFileName } from '#core/files/file-name.ts';
import { sha256 } from '#core/kit/ids.ts';
import type { OutsideAnswer, OutsideClient } from '../egress/outside-client.ts';
import { readPage } from '../egress/read-page.ts';
import { decodeText, isHtmlType, isTextType, outsideData } from './outside-data.ts';
import { outsideUrlSchema, resourceOf } from './outside-url.ts';
import type { Tool, ToolContext, ToolResult } from './tool.ts';

const mebibyte = 1 << 20;
/** What one frame to the sandbox takes. */
const fileBytesMax = 12 * mebibyte;
/** Characters of a page shown at once. */
const partChars = 20_000;
/** A page is kept this long, so that its parts fit together. */
const keptMs = 300_000;
const keptMax = 32;
/** Characters of all kept pages together. */
const keptCharsMax = 16_000_000;

const parameters = z.strictObject({
  url: outsideUrlSchema.describe('Whole address with https://.'),
  offset: z.int().min(0).optional().describe('Go on at this character. Default: 0.'),
});

interface KeptPage {
  readonly at: number;
  readonly title: string | undefined;
  readonly text: string;
  readonly source: string;
}

/** Reads a web page as text; other files are put into the workspace. */
export function webFetchTool(deps: { readonly outside: OutsideClient }): Tool<z.infer<typeof parameters>> {
  const kept = new Map<string, KeptPage>();
  return {
    name: 'web_fetch',
    description:
      'Read a web page or text file: returns its main content as Markdown, in parts when it is long. Other files (PDF, ' +
      'images, archives) are saved below /workspace/downloads. Reaches only the hosts of the agent’s egress rules.',
    parameters,
    isParallelSafe: true,
    isIdempotent: true,
    claim: ({ url }) => ({
      action: 'http.request',
      resource: resourceOf(new URL(url.trim())),
      risk: 'low',
      summary: `Read ${url.trim().slice(0, 300)}`,
    }),
    run: async ({ url: given, offset = 0 }, context) => {
      const url = new URL(given.trim());
      const key = `${context.sessionId} ${context.agent.version} ${url.href}`;
      const known = kept.get(key);
      if (offset > 0 && known !== undefined && Date.now() - known.at < keptMs) return part(known, offset);
      const { agent, sessionId, turnId, signal } = context;
      const answer = await deps.outside.request(
        { sessionId, turnId, agent: agent.name, rules: agent.egress },
        {
          url,
          method: 'GET',
          headers: { accept: 'text/html,application/xhtml+xml,text/plain;q=0.9,*/*;q=0.5', 'accept-language': 'en' },
          bytesMax: fileBytesMax,
          signal,
        },
      );
      if (answer.redirect !== undefined) {
        return {
          text: `${url.host} redirects to ${answer.redirect.href}. Fetch that address if it is wanted.`,
          isError: false,
        };
      }
      const type = answer.headers['content-type'] ?? '';
      if (!isTextType(type) || answer.bytes.subarray(0, 5).toString('latin1') === '%PDF-') {
        if (answer.status >= 400) return { text: `HTTP ${answer.status} from ${url.host}.`, isError: true };
        return await save(answer, type, context);
      }
      const page = await toPage(answer, type);
      if (answer.status >= 400) {
        const shown = outsideData(answer.url.host, page.text.slice(0, 1_000));
        return { text: `HTTP ${answer.status} from ${url.host}.\n${shown}`, isError: true };
      }
      keep(kept, key, page);
      return part(page, offset);
    },
  };
}

async function toPage(answer: OutsideAnswer, type: string): Promise<KeptPage> {
  const text = decodeText(answer.bytes, type);
  const base = { at: Date.now(), source: answer.url.href };
  const isHtml = isHtmlType(type) || (type === '' && /^\s*<(?:!doctype html|html)/i.test(text));
  if (!isHtml) return { ...base, title: undefined, text };
  const page = await readPage(text, answer.url.href);
  return { ...base, title: page.title, text: page.text };
}

function part(page: KeptPage, offset: number): ToolResult {
  if (offset > 0 && offset >= page.text.length) {
    return { text: `The page has only ${page.text.length} characters.`, isError: true };
  }
  const text = page.text.slice(offset, offset + partChars).toWellFormed();
  const next = offset + partChars;
  const more =
    next < page.text.length ? `\n\n[${next} of ${page.text.length} characters; go on with offset ${next}]` : '';
  const title = offset === 0 && page.title !== undefined ? `# ${page.title.slice(0, 300)}\n\n` : '';
  return {
    text: outsideData(page.source, title + (text === '' ? '(the page has no text)' : text)) + more,
    isError: false,
  };
}

async function save(answer: OutsideAnswer, type: string, context: ToolContext): Promise<ToolResult> {
  if (answer.isCut) {
    return { text: `The file is larger than ${describeBytes(fileBytesMax)} and was not saved.`, isError: true };
  }
  const last = answer.url.pathname.split('/').findLast((segment) => segment !== '') ?? 'download';
  const name = safeFileName(decodeName(last));
  // Different files of one name stay apart, the same one is saved once.
  const file = `downloads/${sha256(`${answer.url.href}\n${sha256(answer.bytes.toString('latin1'))}`).slice(0, 8)}-${name}`;
  const sandbox = await context.sandbox();
  await sandbox.writeFile(file, answer.bytes, { append: false, signal: context.signal });
  return {
    text: `${answer.url.href} is no page but ${type.split(';', 1)[0] || 'a file'} (${describeBytes(answer.bytes.length)}). Saved to /workspace/${file}.`,
    isError: false,
  };
}

function decodeName(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

function keep(kept: Map<string, KeptPage>, key: string, page: KeptPage): void {
  kept.delete(key);
  kept.set(key, page);
  let chars = [...kept.values()].reduce((sum, { text }) => sum + text.length, 0);
  for (const [old, { text, at }] of kept) {
    if (kept.size <= keptMax && chars <= keptCharsMax && Date.now() - at < keptMs) break;
    kept.delete(old);
    chars -= text.length;
  }
}
