import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { connect, type LookupFunction, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { pino } from 'pino';
import { sandboxLimitsSchema } from '#core/agents/agent-profile.ts';
import { createAddressGuard } from '#core/egress/address-guard.ts';
import { egressRuleSchema } from '#core/egress/egress-rule.ts';
import { type Clock, systemClock } from '#core/kit/clock.ts';
import { AppError } from '#core/kit/errors.ts';
import { newId } from '#core/kit/ids.ts';
import type { CredentialSource } from '#core/vault/credential.ts';
import type { TestDatabase } from '#tests/support/database.ts';
import { type EgressBounds, EgressJournal } from '#workers/egress/egress-journal.ts';
import type { GatewayLimits } from '#workers/egress/gateway-limits.ts';
import { createOpenGateway } from '#workers/egress/open-gateway.ts';
import type { Reach } from '#workers/egress/reach.ts';
import { openHopSender } from '#workers/egress/send-hop.ts';
import type { SandboxGateway, SandboxSpec } from '#workers/sandbox/sandbox.ts';

export interface StageOptions {
  readonly rules?: readonly unknown[];
  readonly lookup?: LookupFunction;
  readonly ca?: string;
  readonly open?: readonly string[];
  readonly limits?: Partial<GatewayLimits>;
  readonly bounds?: Partial<EgressBounds>;
  /** The time by which requests a minute are counted; the machine's unless told. */
  readonly clock?: Clock;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** It ended before it was whole. */
  readonly isBroken: boolean;
}

/** Values of the credentials every stage has, each for `api.test` and agent `scout` alone. */
export const secrets: Readonly<Record<string, string>> = {
  key: 'S3cr3t/Value+42==',
  login: 'robot:pa55word-of-robot',
  split: 'broken\r\nx-injected: 1',
};

export const credentials: CredentialSource = {
  resolve: async (name, { agent, host }) => {
    const value = secrets[name];
    if (value === undefined) throw new AppError('credential.unknown', `There is no secret named ${name}.`);
    if (agent !== 'scout' || host !== 'api.test') {
      throw new AppError('credential.not_allowed', `The secret ${name} may not be used for ${host}.`);
    }
    return value;
  },
};

/** One sandbox's gateway as the sandbox sees it: a unix socket. */
export class GatewayStage implements AsyncDisposable {
  readonly socketPath: string;
  readonly sessionId: string;
  readonly gateway: SandboxGateway;
  readonly journal: EgressJournal;
  readonly reach: Reach;
  readonly #database: TestDatabase;
  readonly #stack: AsyncDisposableStack;

  private constructor(parts: {
    socketPath: string;
    sessionId: string;
    gateway: SandboxGateway;
    journal: EgressJournal;
    reach: Reach;
    database: TestDatabase;
    stack: AsyncDisposableStack;
  }) {
    this.socketPath = parts.socketPath;
    this.sessionId = parts.sessionId;
    this.gateway = parts.gateway;
    this.journal = parts.journal;
    this.reach = parts.reach;
    this.#database = parts.database;
    this.#stack = parts.stack;
  }

  static async open(database: TestDatabase, options: StageOptions = {}): Promise<GatewayStage> {
    const stack = new AsyncDisposableStack();
    const log = pino({ level: 'silent' });
    const folder = mkdtempSync(path.join(tmpdir(), 'sw-gw-'));
    stack.defer(() => rmSync(folder, { recursive: true, force: true }));
    const sessionId = await makeSession(database);
    const journal = stack.use(
      new EgressJournal(
        { db: database.db, log, clock: options.clock ?? systemClock },
        { requestsPerMinute: 10_000, bytesPerDay: 1e12, ...options.bounds },
      ),
    );
    const reach: Reach = {
      guard: createAddressGuard({ open: options.open ?? ['127.0.0.1'] }),
      ...(options.lookup === undefined ? {} : { lookup: options.lookup }),
      ...(options.ca === undefined ? {} : { ca: options.ca }),
    };
    const sender = stack.use(openHopSender(reach));
    const openGateway = createOpenGateway({ log, journal, credentials, sender, reach }, options.limits);
    const socketPath = path.join(folder, 'egress.sock');
    const gateway = await openGateway(specOf(sessionId, options.rules ?? []), socketPath);
    stack.use(gateway);
    return new GatewayStage({ socketPath, sessionId, gateway, journal, reach, database, stack });
  }

  /** Replaces the rules, as a changed profile does, and says which turn goes on. */
  update(rules: readonly unknown[], turnId?: string): void {
    const spec = specOf(this.sessionId, rules);
    this.gateway.update(turnId === undefined ? spec : { ...spec, turnId });
  }

  /** Asks as a client with `http_proxy` does. */
  async ask(
    url: string,
    options: {
      readonly method?: string;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: string | Buffer;
    } = {},
  ): Promise<Answer> {
    const host = /^http:\/\/([^/?]*)/.exec(url)?.[1] ?? '';
    return await new Promise<Answer>((resolve, reject) => {
      const sent = request(
        {
          socketPath: this.socketPath,
          path: url,
          method: options.method ?? 'GET',
          headers: { host, ...options.headers },
          agent: false,
        },
        (response) => {
          const chunks: Buffer[] = [];
          const end = (isBroken: boolean) =>
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              text: Buffer.concat(chunks).toString('latin1'),
              isBroken,
            });
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.once('end', () => end(false));
          response.once('error', () => end(true));
        },
      );
      sent.once('error', reject);
      sent.end(options.body);
    });
  }

  /** Sends bytes as they are and gives back all that comes, until the other side closes or is silent after its words. */
  async raw(bytes: string | Buffer): Promise<string> {
    return await new Promise<string>((resolve) => {
      const socket = connect(this.socketPath);
      const chunks: Buffer[] = [];
      const text = () => Buffer.concat(chunks).toString('latin1');
      const end = () => {
        socket.destroy();
        resolve(text());
      };
      // For what never ends; on a busy machine silence says nothing.
      socket.setTimeout(30_000, end);
      socket.on('data', (chunk) => {
        chunks.push(chunk);
        // Where the connection is to be closed, its end says that all is there; elsewhere more would follow at once.
        if (!/connection: *close/i.test(`${String(bytes)}${text()}`)) socket.setTimeout(700);
      });
      socket.once('close', end);
      socket.on('error', () => undefined);
      socket.write(bytes);
    });
  }

  /** Asks for a tunnel. */
  async tunnel(
    authority: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<{ readonly status: number; readonly socket: Socket; readonly text: string }> {
    return await new Promise((resolve, reject) => {
      const sent = request({
        socketPath: this.socketPath,
        method: 'CONNECT',
        path: authority,
        headers: { host: authority, ...headers },
        agent: false,
      });
      sent.once('connect', (response, socket, head) => {
        resolve({ status: response.statusCode ?? 0, socket, text: head.toString() });
      });
      sent.once('error', reject);
      sent.end();
    });
  }

  /** What is on record, oldest first. */
  async records(): Promise<Record<string, unknown>[]> {
    await this.journal.settled();
    const rows = await this.#database.query<{ body: Record<string, unknown> }>(
      `select b.body from audit_body b where b.body ->> 'kind' = 'egress.request' and b.body ->> 'sessionId' = $1
       order by b.chain, b.seq`,
      [this.sessionId],
    );
    return rows.map(({ body }) => body);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** TLS over a tunnel. */
export async function secure(socket: Socket, servername: string, ca: string): Promise<TLSSocket> {
  return await new Promise((resolve, reject) => {
    const tls = connectTls({
      socket,
      ca,
      ...(servername === '' ? {} : { servername }),
      checkServerIdentity: () => undefined,
    });
    tls.once('secureConnect', () => resolve(tls));
    tls.once('error', reject);
    tls.once('close', () => reject(new Error('closed')));
  });
}

function specOf(sessionId: string, rules: readonly unknown[]): SandboxSpec {
  return {
    sessionId,
    agent: 'scout',
    limits: sandboxLimitsSchema.parse({ network: 'gateway' }),
    egress: rules.map((rule) => egressRuleSchema.parse(rule)),
  };
}

/** A session's row, as far as use is counted by it. */
export async function makeSession(database: TestDatabase): Promise<string> {
  const id = newId();
  const threadKey = `console:test:${randomUUID()}`;
  const origin = { channel: 'console', account: 'test', room: 'r', kind: 'dm', personId: 'p' };
  await database.query('insert into thread (thread_key, conversation) values ($1, $2)', [
    threadKey,
    JSON.stringify(origin),
  ]);
  await database.query(`insert into session (id, thread_key, agent_name, origin) values ($1, $2, 'scout', $3)`, [
    id,
    threadKey,
    JSON.stringify(origin),
  ]);
  return id;
}
