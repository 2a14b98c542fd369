import { AsyncLocalStorage } from 'node:async_hooks';
import { type ModelCallOptions, ModelError } from '#core/models/model-port.ts';
import { failureToModelError, parseRetryAfter } from './classify-model-error.ts';
import { fieldOf, parseJson, textOf } from './read-json.ts';

/** No vendor sends an event of a megabyte; a server that never ends a line must not fill the worker's memory. */
const lineBytesMax = 1024 * 1024;
/** How much of a wrong answer is read to find out what it says. */
const wrongBodyBytesMax = 64 * 1024;
const current = new AsyncLocalStorage<Guard>();

/**
 * Watches one attempt: time until headers, silence between bytes, the whole call, the caller's signal, the content type
 * and the size of lines. The SDKs watch only the first of these and hide an abort as a normal end of the stream.
 * The first thing that goes wrong is kept in `failure` and aborts the request.
 */
export class Guard implements Disposable {
  failure: ModelError | undefined;
  requestId: string | undefined;
  #isAccepted = false;
  #isDraining = false;
  #isRead = false;
  readonly #options: ModelCallOptions;
  readonly #controller = new AbortController();
  readonly #total: NodeJS.Timeout;
  #wait: NodeJS.Timeout | undefined;
  readonly #onAbort = (): void => {
    this.#fail(new ModelError('aborted', 'The call was cancelled.'));
  };

  constructor(options: ModelCallOptions) {
    this.#options = options;
    this.#total = setTimeout(() => {
      this.#fail(
        new ModelError('timeout', `The model took longer than ${seconds(options.totalMs)}.`, { code: 'total' }),
      );
    }, options.totalMs);
    this.#wait = setTimeout(() => {
      this.#fail(
        new ModelError('timeout', `The model did not answer within ${seconds(options.headerMs)}.`, { code: 'header' }),
      );
    }, options.headerMs);
    if (options.signal.aborted) this.#onAbort();
    else options.signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Whether the server took the request and began an event stream: from here on it charges for the input. */
  get isAccepted(): boolean {
    return this.#isAccepted;
  }

  /** Runs `open` so that `guardedFetch` finds this guard. */
  run<Result>(open: () => Promise<Result>): Promise<Result> {
    return current.run(this, open);
  }

  /**
   * The answer is complete: what is left of the body (usually a few bytes) is read for at most `ms`, because only a body
   * read to its end gives the connection back for the next call.
   */
  drain(ms: number): void {
    this.#isDraining = true;
    clearTimeout(this.#wait);
    if (!this.#isRead) this.#wait = setTimeout(() => this.#controller.abort(), ms).unref();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#total);
    this.#options.signal.removeEventListener('abort', this.#onAbort);
    clearTimeout(this.#wait);
    // Frees the socket of a stream nobody reads any more.
    if (!this.#isRead) this.#controller.abort();
  }

  /** Watches the body of an answer, errors included; @throws ModelError for a 200 that cannot be an event stream. */
  async accept(response: Response): Promise<Response> {
    clearTimeout(this.#wait);
    this.requestId = response.headers.get('x-request-id') ?? response.headers.get('request-id') ?? undefined;
    const watched =
      response.body === null
        ? response
        : new Response(this.#watch(response.body), {
            status: response.status,
            statusText: response.statusText,
            headers: response.headers,
          });
    if (!response.ok) return watched;
    const type = response.headers.get('content-type') ?? '';
    if (/^(text\/html|text\/plain|application\/json)/i.test(type)) {
      throw this.#fail(await wrongAnswer(watched, type));
    }
    this.#isAccepted = true;
    return watched;
  }

  #watch(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
    const reader = body.getReader();
    let lineBytes = 0;
    let isReading = false;
    this.#wait = setTimeout(() => {
      // Only a pending read is silence: a slow reader on our side must not look like a stalled model.
      if (!isReading) return;
      this.#fail(
        new ModelError('timeout', `The model said nothing for ${seconds(this.#options.idleMs)}.`, { code: 'idle' }),
      );
    }, this.#options.idleMs);
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          if (!this.#isDraining) this.#wait?.refresh();
          isReading = true;
          const { done, value } = await reader.read();
          isReading = false;
          if (done) {
            this.#endOfBody();
            controller.close();
            return;
          }
          const newline = value.lastIndexOf(10);
          lineBytes = newline === -1 ? lineBytes + value.length : value.length - newline - 1;
          if (lineBytes > lineBytesMax) {
            throw this.#fail(
              new ModelError('protocol', 'The model sent an event larger than 1 MB.', { code: 'answer_too_large' }),
            );
          }
          controller.enqueue(value);
        },
        cancel: async (reason) => {
          if (this.#isDraining && !this.#isRead) await this.#readRest(reader);
          else await reader.cancel(reason);
        },
      },
      { highWaterMark: 0 },
    );
  }

  /** The SDK stops reading at its own end mark; the bytes after it are read here. */
  async #readRest(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
    try {
      while (!(await reader.read()).done);
    } catch {
      // The drain timer or the server ended the connection: the answer is complete all the same.
    }
    this.#endOfBody();
  }

  #endOfBody(): void {
    this.#isRead = true;
    clearTimeout(this.#wait);
  }

  #fail(error: ModelError): ModelError {
    this.failure ??= error;
    this.#controller.abort(this.failure);
    return this.failure;
  }
}

/** The `fetch` every SDK client is given: the platform's own, watched by the guard of the attempt that called it. */
export const guardedFetch: typeof fetch = async (input, init) => {
  const response = await fetch(input, init);
  const guard = current.getStore();
  return guard === undefined ? response : guard.accept(response);
};

/** A 200 that is no event stream: an error in JSON, a gateway's login page, a proxy that does not stream. */
async function wrongAnswer(response: Response, type: string): Promise<ModelError> {
  const text = await readSome(response);
  const body = parseJson(text)?.value;
  const error = fieldOf(body, 'error') ?? (textOf(body, 'object') === 'error' ? body : undefined);
  if (error !== undefined && error !== null) {
    const code = fieldOf(error, 'code');
    return failureToModelError({
      status: typeof code === 'number' ? code : undefined,
      code: typeof code === 'string' ? code : undefined,
      type: textOf(error, 'type') || undefined,
      message: textOf(error, 'message') || (typeof error === 'string' ? error : 'an error without a message'),
      requestId: response.headers.get('x-request-id') ?? undefined,
      retryAfterMs: parseRetryAfter(response.headers),
    });
  }
  const kind = type.split(';')[0] ?? type;
  return new ModelError('protocol', `The model answered with ${kind} instead of an event stream.`, {
    code: 'content_type',
  });
}

async function readSome(response: Response): Promise<string> {
  let text = '';
  if (response.body === null) return text;
  const decoder = new TextDecoder();
  for await (const chunk of response.body) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > wrongBodyBytesMax) break;
  }
  return text;
}

function seconds(ms: number): string {
  return ms < 1000 ? `${ms} ms` : `${Math.round(ms / 1000)} s`;
}
