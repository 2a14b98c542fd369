import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { AppError, isAppError } from '#core/kit/errors.ts';
import { newId } from '#core/kit/ids.ts';
import { type ChatEvent, type ChatMessage, chatMessageSchema, parseChatEvent } from './stream-event.ts';

export interface ConsoleClientOptions {
  /** The gateway, for example http://127.0.0.1:8420. */
  readonly baseUrl: string;
  readonly token: string;
  readonly room: string;
  readonly thread?: string | undefined;
  /** The operating system's user name, shown as the author. */
  readonly user: string;
}

/** One conversation of the console, over HTTP. */
export interface ConsoleClient {
  /**
   * Says something under a new key, which the message and its turn will carry. A gateway that is away is tried again
   * with the same key for up to 30 s.
   */
  say(key: string, text: string, signal: AbortSignal): Promise<void>;
  /** Presses a button; tried again like `say`. */
  press(buttonToken: string, messageId: string, signal: AbortSignal): Promise<void>;
  history(rowsMax: number): Promise<{ readonly messages: readonly ChatMessage[]; readonly change: number }>;
  commands(): Promise<readonly { readonly name: string; readonly description: string }[]>;
  file(messageId: string, index: number): Promise<Buffer>;
  /**
   * Everything after a change number, without end. A lost connection is told once and made again; what happened
   * meanwhile follows.
   */
  follow(since: number, signal: AbortSignal): AsyncGenerator<ChatEvent, void>;
}

const retryMs = 30_000;
const pauseMinMs = 100;
const pauseMaxMs = 3_000;
/** Three missed heartbeats. */
const silenceMaxMs = 45_000;

const errorSchema = z.object({
  error: z.object({ code: z.string(), message: z.string(), mend: z.string().optional() }),
});
const historySchema = z.object({ messages: z.array(chatMessageSchema), change: z.number() });
const commandsSchema = z.object({ commands: z.array(z.object({ name: z.string(), description: z.string() })) });

/** A client of the gateway's console API. Its methods throw `AppError` with what the gateway said. */
export function consoleClient(options: ConsoleClientOptions): ConsoleClient {
  const place = { room: options.room, ...(options.thread === undefined ? {} : { thread: options.thread }) };
  const call = async (path: string, init: RequestInit = {}): Promise<Response> => {
    let response: Response;
    try {
      response = await fetch(`${options.baseUrl}/api/console/${path}`, {
        ...init,
        headers: { authorization: `Bearer ${options.token}`, ...init.headers },
      });
    } catch (cause) {
      init.signal?.throwIfAborted();
      throw new AppError('channel.unavailable', `The gateway at ${options.baseUrl} does not answer.`, {
        mend: 'Start it with `./switchyard up`.',
        cause,
      });
    }
    if (!response.ok) throw await toError(response);
    return response;
  };
  const get = (path: string, query: Record<string, string | number>, init?: RequestInit): Promise<Response> =>
    call(`${path}?${new URLSearchParams({ ...place, ...mapToText(query) }).toString()}`, init);

  const post = async (path: string, body: Record<string, unknown>, signal: AbortSignal): Promise<void> => {
    const until = Date.now() + retryMs;
    for (let pauseMs = pauseMinMs; ; pauseMs = Math.min(pauseMs * 2, pauseMaxMs)) {
      try {
        await call(path, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ ...place, user: options.user, ...body }),
          signal,
        });
        return;
      } catch (err) {
        if (!isAppError(err) || !err.canRetry || Date.now() + pauseMs > until) throw err;
      }
      await delay(pauseMs, undefined, { signal });
    }
  };

  return {
    say: (key, text, signal) => post('messages', { key, text }, signal),
    press: (token, messageId, signal) => post('actions', { key: newId(), token, messageId }, signal),
    history: async (rowsMax) => historySchema.parse(await (await get('history', { limit: rowsMax })).json()),
    commands: async () => commandsSchema.parse(await (await call('commands')).json()).commands,
    file: async (message, index) => Buffer.from(await (await get('files', { message, index })).arrayBuffer()),
    async *follow(since, signal) {
      let cursor = since;
      let pauseMs = pauseMinMs;
      while (!signal.aborted) {
        try {
          for await (const { event, id } of readStream((init) => get('stream', { since: cursor }, init), signal)) {
            if (id !== undefined) cursor = id;
            if (event.type === 'ready') pauseMs = pauseMinMs;
            yield event;
          }
          if (signal.aborted) return;
          yield { type: 'disconnected', reason: 'The gateway closed the connection.' };
        } catch (err) {
          if (signal.aborted) return;
          if (isAppError(err) && !err.canRetry) throw err;
          yield { type: 'disconnected', reason: isAppError(err) ? err.message : 'The connection was lost.' };
        }
        await delay(pauseMs, undefined, { signal }).catch(() => undefined);
        pauseMs = Math.min(pauseMs * 2, pauseMaxMs);
      }
    },
  };
}

async function* readStream(
  open: (init: RequestInit) => Promise<Response>,
  signal: AbortSignal,
): AsyncGenerator<{ event: ChatEvent; id: number | undefined }, void> {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), silenceMaxMs);
  try {
    const response = await open({ signal: AbortSignal.any([signal, silence.signal]) });
    let rest = '';
    for await (const text of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), silenceMaxMs);
      const blocks = `${rest}${text}`.split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const fields = new Map(
          block.split('\n').map((line) => [line.split(': ', 1)[0], line.slice(line.indexOf(': ') + 2)]),
        );
        const event = parseChatEvent(fields.get('event') ?? '', fields.get('data') ?? '{}');
        const id = fields.get('id');
        if (event !== undefined) yield { event, id: id === undefined ? undefined : Number(id) };
      }
    }
  } finally {
    clearTimeout(timer);
  }
}

async function toError(response: Response): Promise<AppError> {
  const error = errorSchema.safeParse(await response.json().catch(() => undefined)).data?.error;
  const message = error?.message ?? `The gateway answered ${response.status}.`;
  const mend = error?.mend === undefined ? {} : { mend: error.mend };
  if (response.status === 401) return new AppError('request.unauthenticated', message, mend);
  if (response.status === 413) return new AppError('message.too_large', message, mend);
  return new AppError(response.status >= 500 ? 'channel.unavailable' : 'request.invalid', message, mend);
}

function mapToText(query: Record<string, string | number>): Record<string, string> {
  return Object.fromEntries(Object.entries(query).map(([name, value]) => [name, String(value)]));
}
