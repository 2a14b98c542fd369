import { tmpdir } from 'node:os';
import path from 'node:path';
import type { CommandDeps, FormRequest } from '#core/commands/command-deps.ts';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import { insertRawEvents } from '#core/inbox/inbox-store.ts';
import type { KnownEvent } from '#core/inbox/known-event.ts';
import { newId } from '#core/kit/ids.ts';
import type { LaneWake } from '#core/lanes/lane.ts';
import { type OutboundBody, outboundBodySchema } from '#core/outbox/outbound.ts';
import { roleOf } from '#core/people/identify.ts';
import { openThread } from '#core/sessions/open-thread.ts';
import { type Conversation, threadKey } from '#core/sessions/origin.ts';
import { openFileKek } from '#core/vault/file-kek.ts';
import type { TestDatabase } from './database.ts';

/** What a person does in a chat. */
type Deed =
  | { readonly type: 'action' | 'form'; readonly token: string; readonly values?: Readonly<Record<string, string>> }
  | { readonly type: 'message'; readonly text: string; readonly replyToId?: string }
  | { readonly type: 'command'; readonly name: string; readonly args: string };

/** One message as it stands in the outbox. */
export interface Said {
  readonly key: string;
  readonly threadKey: string;
  readonly body: OutboundBody;
  /** Everything it says, in one text. */
  readonly text: string;
  /** Its buttons that can be pressed, by label. */
  readonly buttons: ReadonlyMap<string, string>;
  readonly platformIds: readonly string[];
}

/** Chats without platforms: events as routing hands them on, and the outbox as what was said. */
export class ChatStage {
  readonly database: TestDatabase;
  readonly acknowledged: { readonly text: string; readonly isAlert: boolean }[] = [];
  readonly forms: FormRequest[] = [];
  readonly rung: LaneWake[] = [];
  /** Whether the platform can open a form. */
  hasForms = false;

  constructor(database: TestDatabase) {
    this.database = database;
  }

  get deps(): CommandDeps {
    return {
      db: this.database.db,
      defaultAgent: 'assistant',
      findAgent: async () => await Promise.resolve(undefined),
      listAgents: async () => await Promise.resolve([]),
      modelOf: async () => await Promise.resolve('none'),
      acknowledge: async (_event, text, isAlert) => {
        this.acknowledged.push({ text, isAlert });
        await Promise.resolve();
      },
      openForm: async (_event, form) => {
        if (this.hasForms) this.forms.push(form);
        return await Promise.resolve(this.hasForms);
      },
      kek: openFileKek({ file: path.join(tmpdir(), `sw-master-key-${newId()}`), mayCreate: true }),
      deleteMessage: async () => await Promise.resolve(false),
      ring: async (wakes) => {
        this.rung.push(...wakes);
        await Promise.resolve();
      },
    };
  }

  /** An event of a person, stored and identified. */
  async event(place: Conversation, personId: string, deed: Deed): Promise<KnownEvent> {
    const [row] = await insertRawEvents(this.database.db, place, [{ dedupKey: newId(), raw: {} }]);
    const [person] = await this.database.query<{ display_name: string }>(
      'select display_name from person where id = $1',
      [personId],
    );
    const name = person?.display_name ?? 'nobody';
    const role = (await roleOf(this.database.db, personId)) ?? 'member';
    const thread = await openThread(this.database.db, place);
    const base = {
      conversation: place,
      actor: { externalId: `ext-${name}`, displayName: name, isBot: false, isAnonymous: false },
      occurredAt: new Date(),
    };
    const event: InboundEvent =
      deed.type === 'message'
        ? { ...base, ...deed, addressed: 'dm', files: [], messageId: newId() }
        : deed.type === 'command'
          ? { ...base, ...deed }
          : deed.type === 'form'
            ? { ...base, type: 'form', token: deed.token, values: deed.values ?? {}, interactionToken: 'i' }
            : { ...base, type: 'action', token: deed.token, interactionToken: 'i' };
    return {
      inboxId: row?.id ?? '',
      event,
      identity: {
        id: newId(),
        channel: place.channel,
        account: place.account,
        externalId: base.actor.externalId,
        displayName: name,
        person: { id: personId, displayName: name, role },
        isRemoved: false,
        admittedBy: undefined,
      },
      person: { id: personId, displayName: name, role },
      thread,
      origin: { ...place, personId },
    };
  }

  /** What stands in a thread now, the oldest first. */
  async said(place: Conversation): Promise<Said[]> {
    const rows = await this.database.query<{ key: string; thread_key: string; body: unknown; platform_ids: string[] }>(
      'select key, thread_key, body, platform_ids from outbox where thread_key = $1 order by created_at, id',
      [threadKey(place)],
    );
    return rows.map((row) => toSaid(row));
  }

  async last(place: Conversation): Promise<Said> {
    const said = (await this.said(place)).at(-1);
    if (said === undefined) throw new Error(`nothing was said in ${threadKey(place)}`);
    return said;
  }

  /** Delivers everything, so that it can be replied to: the platform id is the outbox key. */
  async deliver(): Promise<void> {
    await this.database.query(
      "update outbox set state = 'sent', platform_ids = array[key], sent_revision = revision, sent_at = now() where state = 'pending'",
    );
  }

  async audit(kind: string): Promise<Record<string, unknown>[]> {
    const rows = await this.database.query<{ body: Record<string, unknown> }>(
      "select body from audit_body where body ->> 'kind' = $1 order by chain, seq",
      [kind],
    );
    return rows.map((row) => row.body);
  }
}

function toSaid(row: { key: string; thread_key: string; body: unknown; platform_ids: string[] | null }): Said {
  const body = outboundBodySchema.parse(row.body);
  const texts = body.parts.map((part) => {
    switch (part.type) {
      case 'markdown':
      case 'notice':
        return part.markdown;
      case 'code':
        return part.text;
      case 'fields':
        return part.fields.map(([name, value]) => `${name}: ${value}`).join('\n');
      default:
        return '';
    }
  });
  const buttons = body.parts.flatMap((part) => (part.type === 'buttons' ? part.rows.flat() : []));
  return {
    key: row.key,
    threadKey: row.thread_key,
    body,
    text: texts.filter((text) => text !== '').join('\n'),
    buttons: new Map(buttons.flatMap(({ label, token }) => (token === undefined ? [] : [[label, token]]))),
    platformIds: row.platform_ids ?? [],
  };
}
