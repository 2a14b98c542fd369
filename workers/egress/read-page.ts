import { Worker } from 'node:worker_threads';
import { z } from 'zod';
import { htmlToText, titleOf } from './html-to-text.ts';

export interface PageText {
  readonly title: string | undefined;
  /** Markdown where the reader could take the page, plain text where not. */
  readonly text: string;
  readonly how: 'markdown' | 'plain';
}

/** Most characters of a page that are looked at. */
const charsMax = 2_000_000;
/** Longest the reader may take. */
const readMs = 1_500;
/** Longest its thread may take to load what it needs. */
const startMs = 10_000;
const threadsMax = 2;

const messageSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('ready') }),
  z.object({ kind: z.literal('page'), title: z.string(), markdown: z.string() }),
  z.object({ kind: z.literal('deep') }),
]);

let running = 0;
const waiting: (() => void)[] = [];

/** What an HTML page says, without what is around it. A page that takes the reader too long is told as plain text. */
export async function readPage(html: string, url: string): Promise<PageText> {
  const page = html.slice(0, charsMax);
  if (running >= threadsMax) await new Promise<void>((resolve) => waiting.push(resolve));
  running += 1;
  try {
    const read = await readInThread(page, url);
    if (read !== undefined && read.markdown !== '') {
      return { title: read.title === '' ? undefined : read.title, text: read.markdown, how: 'markdown' };
    }
  } finally {
    running -= 1;
    waiting.shift()?.();
  }
  return { title: titleOf(page), text: htmlToText(page), how: 'plain' };
}

async function readInThread(
  html: string,
  url: string,
): Promise<{ readonly title: string; readonly markdown: string } | undefined> {
  const thread = new Worker(new URL('./page-thread.ts', import.meta.url), {
    workerData: { html, url },
    // Nothing of ours is in reach of a page that would take the reader over.
    env: {},
    execArgv: [],
    stdout: true,
    stderr: true,
    resourceLimits: { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 32, stackSizeMb: 4 },
  });
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise((resolve) => {
      const giveUp = () => resolve(undefined);
      timer = setTimeout(giveUp, startMs);
      thread.on('message', (raw) => {
        const message = messageSchema.safeParse(raw).data;
        if (message?.kind === 'ready') {
          clearTimeout(timer);
          timer = setTimeout(giveUp, readMs);
        } else resolve(message?.kind === 'page' ? message : undefined);
      });
      thread.on('error', giveUp);
      thread.on('exit', giveUp);
    });
  } finally {
    clearTimeout(timer);
    await thread.terminate();
  }
}
