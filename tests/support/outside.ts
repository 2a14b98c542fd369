import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SMTPServer } from 'smtp-server';
import { vi } from 'vitest';

/** A call that a web hook got. */
export interface HookCall {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A real HTTP server that plays somebody's web hook. */
export class HookServer implements AsyncDisposable {
  readonly calls: HookCall[] = [];
  /** Answered in this order; 200 when there are no more. */
  answers: number[] = [];
  readonly #server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    request.on('end', () => {
      this.calls.push({ path: request.url ?? '', headers: request.headers, body });
      const status = this.answers.shift() ?? 200;
      response.writeHead(status, status === 302 ? { location: `${this.url}/elsewhere` } : {});
      response.end('thank you');
    });
  });

  static async start(): Promise<HookServer> {
    const hook = new HookServer();
    hook.#server.listen(0, '127.0.0.1');
    await once(hook.#server, 'listening');
    return hook;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

/** A real mail server that keeps what it gets. */
export class MailServer implements AsyncDisposable {
  readonly mails: { readonly to: readonly string[]; readonly source: string }[] = [];
  /** Refuses this many mails first, with this answer. */
  refusals: { readonly code: number; readonly text: string }[] = [];
  readonly #server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    onRcptTo: (_address, _session, callback) => {
      const refusal = this.refusals.shift();
      if (refusal === undefined) return callback();
      callback(Object.assign(new Error(refusal.text), { responseCode: refusal.code }));
    },
    onData: (stream, session, callback) => {
      let source = '';
      stream.on('data', (chunk: Buffer) => {
        source += chunk.toString();
      });
      stream.on('end', () => {
        this.mails.push({ to: session.envelope.rcptTo.map(({ address }) => address), source });
        callback();
      });
    },
  });

  static async start(): Promise<MailServer> {
    const mail = new MailServer();
    // A client that goes away is no fault of ours.
    mail.#server.on('error', () => undefined);
    await new Promise<void>((resolve) => mail.#server.listen(0, '127.0.0.1', () => resolve()));
    return mail;
  }

  get url(): string {
    return `smtp://127.0.0.1:${(this.#server.server.address() as AddressInfo).port}`;
  }

  async waitForMail(count = 1, timeoutMs = 30_000): Promise<void> {
    await vi.waitUntil(() => this.mails.length >= count, { timeout: timeoutMs, interval: 25 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}
