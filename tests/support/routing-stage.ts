import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { openRoute } from '#app/compose/open-receiver.ts';
import { loadConfig } from '#app/config.ts';
import { loadProjectAgents } from '#app/load-project-agents.ts';
import type { Channel, FormSpec } from '#bots/channel.ts';
import { applyAgents } from '#core/agents/apply-agents.ts';
import { openAgentDirectory } from '#core/agents/open-agent-directory.ts';
import { requestApproval } from '#core/approvals/request-approval.ts';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import { insertRawEvents } from '#core/inbox/inbox-store.ts';
import { systemClock } from '#core/kit/clock.ts';
import { newId } from '#core/kit/ids.ts';
import type { LaneWake } from '#core/lanes/lane.ts';
import type { ChannelCapabilities } from '#core/outbox/channel-sender.ts';
import { type OutboundBody, outboundBodySchema } from '#core/outbox/outbound.ts';
import { createPairingCode } from '#core/people/create-pairing-code.ts';
import type { PersonRole } from '#core/people/person.ts';
import { type Conversation, threadKey } from '#core/sessions/origin.ts';
import { openTestDatabase, type TestDatabase } from './database.ts';

const repository = path.resolve(import.meta.dirname, '../..');

/** Someone on a platform; `name` is their platform id too. */
export interface Somebody {
  readonly name: string;
  readonly isBot?: boolean;
  readonly isAnonymous?: boolean;
  readonly isExternal?: boolean;
  readonly roles?: readonly string[];
}

/** What they do there; the rest of the event is filled in. */
type Deed =
  | { readonly type: 'message'; readonly text: string; readonly addressed?: 'mention' | 'none'; readonly id?: string }
  | { readonly type: 'command'; readonly name: string; readonly args?: string; readonly id?: string }
  | { readonly type: 'edit'; readonly text: string; readonly id: string }
  | { readonly type: 'delete'; readonly id: string }
  | { readonly type: 'press'; readonly token: string }
  | {
      readonly type: 'membership';
      readonly change: Extract<InboundEvent, { type: 'membership' }>['change'];
      readonly newRoom?: string;
    };

/** A message as the product means it to be seen. */
export interface SaidMessage {
  readonly key: string;
  readonly state: string;
  readonly text: string;
  readonly body: OutboundBody;
  readonly buttons: ReadonlyMap<string, string>;
}

/** Everything behind a channel's inbox as the gateway composes it, over a real database, with platforms left out. */
export class RoutingStage implements AsyncDisposable {
  readonly database: TestDatabase;
  readonly rung: LaneWake[] = [];
  readonly acknowledged: { readonly token: string; readonly text: string | undefined }[] = [];
  /** Platform ids of messages of people that were deleted, where `mayDelete` lets the bot do that. */
  readonly deleted: string[] = [];
  mayDelete = false;
  readonly forms: FormSpec[] = [];
  /** Whether the platform opens forms. */
  hasForms = false;
  /** Whether the platform makes threads for tasks. */
  hasThreads = false;
  readonly started: { readonly title: string; readonly key: string; readonly messageId?: string }[] = [];
  readonly #folder: string;
  readonly #routes = new Map<string, (inboxId: string, event: InboundEvent) => Promise<void>>();
  readonly #openRoute: (channel: Channel) => (inboxId: string, event: InboundEvent) => Promise<void>;

  private constructor(database: TestDatabase, folder: string, agents: ReturnType<typeof openAgentDirectory>) {
    this.database = database;
    this.#folder = folder;
    const config = loadConfig({ SWITCHYARD_MODEL: 'demo' }, folder);
    const services = {
      db: database.db,
      log: pino({ level: 'silent' }),
      config,
      agents,
      queue: {
        wakes: {
          ring: async (wakes: readonly LaneWake[]) => {
            this.rung.push(...wakes);
            await Promise.resolve();
          },
        },
      },
    };
    this.#openRoute = (channel) => openRoute(services, channel);
  }

  /** Opens a stage with these lines as `switchyard.yaml`. */
  static async open(yaml = ''): Promise<RoutingStage> {
    const database = await openTestDatabase(6);
    const folder = mkdtempSync(path.join(tmpdir(), 'sw-routing-'));
    writeFileSync(path.join(folder, 'switchyard.yaml'), yaml);
    await applyAgents(database.db, await loadProjectAgents({ agentsDir: path.join(repository, 'agents') }));
    const agents = openAgentDirectory({ db: database.db, clock: systemClock });
    return new RoutingStage(database, folder, agents);
  }

  /** Stores and routes one event. @returns its inbox row. */
  async does(place: Conversation, who: Somebody, deed: Deed, occurredAt = new Date()): Promise<string> {
    return await this.route(place, toEvent(place, who, deed, occurredAt));
  }

  async route(place: Conversation, event: InboundEvent): Promise<string> {
    const [row] = await insertRawEvents(this.database.db, place, [{ dedupKey: newId(), raw: { said: event } }]);
    const inboxId = row?.id ?? '';
    await this.again(inboxId, place, event);
    return inboxId;
  }

  /** Routes a stored event once more, as after a crash. */
  async again(inboxId: string, place: Conversation, event: InboundEvent): Promise<void> {
    const key = `${place.channel}:${place.account}`;
    const route = this.#routes.get(key) ?? this.#openRoute(this.#channel(place));
    this.#routes.set(key, route);
    await route(inboxId, event);
  }

  async says(place: Conversation, who: Somebody, text: string): Promise<string> {
    return await this.does(place, who, { type: 'message', text });
  }

  /** A command with what follows it: `link ABCD-EFGH`. @returns what was answered in that place. */
  async commands(place: Conversation, who: Somebody, line: string): Promise<string> {
    const [name = '', ...rest] = line.split(' ');
    const inboxId = await this.does(place, who, { type: 'command', name, args: rest.join(' ') });
    return (await this.said(place)).find(({ key }) => key === `inbox:${inboxId}:reply`)?.text ?? '';
  }

  /** Presses the newest button with this label in a place. */
  async presses(place: Conversation, who: Somebody, label: string): Promise<string> {
    const token = (await this.said(place)).findLast(({ buttons }) => buttons.has(label))?.buttons.get(label);
    if (token === undefined) throw new Error(`there is no button "${label}" in ${threadKey(place)}`);
    return await this.does(place, who, { type: 'press', token });
  }

  /** Makes somebody a person of ours by a pairing code. */
  async pairs(place: Conversation, who: Somebody, role: PersonRole): Promise<void> {
    const code = await createPairingCode({ db: this.database.db }, { role, validMs: 60_000 });
    await this.commands(place, who, `start ${code}`);
  }

  /** What stands in a place, the oldest first. */
  async said(place: Conversation): Promise<SaidMessage[]> {
    const rows = await this.database.query<{ key: string; state: string; body: unknown }>(
      'select key, state, body from outbox where thread_key = $1 order by created_at, id',
      [threadKey(place)],
    );
    return rows.map(({ key, state, body: raw }) => {
      const body = outboundBodySchema.parse(raw);
      const text = body.parts.map((part) => ('markdown' in part ? part.markdown : '')).join('\n');
      const buttons = new Map(
        body.parts.flatMap((part) =>
          part.type === 'buttons'
            ? part.rows.flat().flatMap(({ label, token }) => (token === undefined ? [] : [[label, token] as const]))
            : [],
        ),
      );
      return { key, state, text, body, buttons };
    });
  }

  async lastText(place: Conversation): Promise<string> {
    return (await this.said(place)).at(-1)?.text ?? '';
  }

  /** The person an account belongs to. */
  async personOf(
    place: Conversation,
    who: Somebody,
  ): Promise<{ id: string; role: string; isGone: boolean } | undefined> {
    const [row] = await this.database.query<{ id: string; role: string; is_gone: boolean }>(
      `select p.id, p.role, p.disabled_at is not null as is_gone from identity i join person p on p.id = i.person_id
       where i.channel = $1 and i.account = $2 and i.external_id = $3`,
      [place.channel, place.account, who.name],
    );
    return row === undefined ? undefined : { id: row.id, role: row.role, isGone: row.is_gone };
  }

  /** Turns of a place, in the order of their lanes. */
  async turns(place: Conversation): Promise<{ state: string; text: string; agent: string; mode: string }[]> {
    return await this.database.query(
      `select t.state, t.payload ->> 'text' as text, t.agent_name as agent, t.mode
       from turn t join session s on s.id = t.session_id where s.thread_key = $1 order by t.session_id, t.seq`,
      [threadKey(place)],
    );
  }

  /** Makes the only turn of a place wait for an approval its requester may give, and shows the card. @returns its lane. */
  async asksApproval(place: Conversation, who: Somebody): Promise<string> {
    const [turn] = await this.database.query<{ id: string; session_id: string }>(
      `update turn set state = 'waiting', waiting_for = 'approval', started_at = now() returning id, session_id`,
    );
    await this.database.query(
      `update lane set state = 'parked', head_seq = 1, ready_at = null, run_at = null, first_at = null`,
    );
    const person = await this.personOf(place, who);
    await this.database.db.transaction().execute(
      async (tx) =>
        await requestApproval(tx, {
          sessionId: turn?.session_id ?? '',
          turnId: turn?.id ?? '',
          callId: newId(),
          agentName: 'assistant',
          action: { tool: 'exec', arguments: {}, permission: 'tool.exec', resource: 'make' },
          summary: 'make',
          conversation: place,
          copies: [],
          validMs: 600_000,
          risk: 'low',
          requesterId: person?.id,
          approvers: [['requester']],
          requesterMayApprove: true,
        }),
    );
    await this.deliver();
    return turn?.session_id ?? '';
  }

  async audited(kind: string): Promise<number> {
    const [row] = await this.database.query<{ count: number }>(
      `select count(*)::int as count from audit_body where body ->> 'kind' = $1`,
      [kind],
    );
    return row?.count ?? 0;
  }

  /** Marks everything as delivered, the platform's id being the outbox key. */
  async deliver(): Promise<void> {
    await this.database.query(
      `update outbox set state = 'sent', platform_ids = array[key], sent_revision = revision, sent_at = clock_timestamp()
       where state = 'pending'`,
    );
  }

  #channel({ channel, account }: Conversation): Channel {
    const nothing = async (): Promise<void> => await Promise.resolve();
    return {
      channel,
      account,
      capabilities: () => capabilities,
      send: async () => await Promise.resolve({ ids: [] }),
      edit: async (_conversation, ref) => await Promise.resolve(ref),
      delete: nothing,
      draft: nothing,
      typing: nothing,
      classify: () => ({ kind: 'retry', reason: 'as planned' }),
      run: nothing,
      normalise: () => [],
      deleteMessage: async (_conversation, messageId) => {
        if (this.mayDelete) this.deleted.push(messageId);
        return await Promise.resolve(this.mayDelete);
      },
      openForm: async (_token, form) => {
        if (this.hasForms) this.forms.push(form);
        return await Promise.resolve(this.hasForms);
      },
      acknowledge: async (token, notice) => {
        this.acknowledged.push({ token, text: notice?.text });
        await Promise.resolve();
      },
      startThread: async (conversation, options) => {
        if (!this.hasThreads) return await Promise.resolve(undefined);
        this.started.push(options);
        return await Promise.resolve({ ...conversation, thread: `of-${options.key}` });
      },
      registerCommands: async () => await Promise.resolve({ changed: false }),
      health: () => ({ state: 'connected', detail: '' }),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.database[Symbol.asyncDispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

const capabilities: ChannelCapabilities = {
  textMax: 4096,
  partsMax: 3,
  canEdit: true,
  canDelete: true,
  nativeStream: 'none',
  editIntervalMs: 0,
  sendIntervalMs: 0,
  buttonTokenBytesMax: 64,
  threads: 'thread',
  modal: false,
  ephemeral: 'none',
  reactions: false,
  typingIntervalMs: 0,
  uploadBytesMax: 0,
  downloadBytesMax: 0,
  buttonsPerRowMax: 5,
  commands: 'everywhere',
  tables: 'code',
  progress: 'none',
  idempotentSend: 'nonce',
};

function toEvent(conversation: Conversation, who: Somebody, deed: Deed, occurredAt: Date): InboundEvent {
  const { name, isBot = false, isAnonymous = false, ...rest } = who;
  const base = {
    conversation,
    actor: { externalId: name, displayName: name, isBot, isAnonymous, ...rest },
    occurredAt,
  };
  switch (deed.type) {
    case 'message':
      return {
        ...base,
        type: 'message',
        text: deed.text,
        addressed: deed.addressed ?? (conversation.kind === 'dm' ? 'dm' : 'mention'),
        files: [],
        messageId: deed.id ?? newId(),
      };
    case 'command':
      return {
        ...base,
        type: 'command',
        name: deed.name,
        args: deed.args ?? '',
        messageId: deed.id ?? newId(),
        interactionToken: `i-${newId()}`,
      };
    case 'edit':
      return { ...base, type: 'edit', text: deed.text, messageId: deed.id };
    case 'delete':
      return { ...base, type: 'delete', messageId: deed.id };
    case 'press':
      return { ...base, type: 'action', token: deed.token, interactionToken: `i-${newId()}` };
    case 'membership':
      return {
        ...base,
        type: 'membership',
        change: deed.change,
        ...(deed.newRoom === undefined ? {} : { newRoom: deed.newRoom }),
      };
  }
}
