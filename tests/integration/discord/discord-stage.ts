import { pino } from 'pino';
import type { RawEvent } from '#bots/channel.ts';
import { DiscordChannel, type DiscordOptions } from '#bots/discord/discord-channel.ts';
import { createPlaceStore } from '#bots/discord/place-store.ts';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { eventually } from '#tests/support/eventually.ts';
import { FakeDiscord, type FakeDiscordOptions } from '../../fakes/discord/fake-discord.ts';
import { openTestDatabase, type TestDatabase } from '../../support/database.ts';

/** A running channel, the fake it is connected to, and what it has stored. */
export class DiscordStage implements AsyncDisposable {
  readonly fake: FakeDiscord;
  readonly database: TestDatabase;
  channel: DiscordChannel;
  /** What was stored, a second time of a key left out, as the inbox does. */
  readonly stored: RawEvent[] = [];
  /** Every event handed over, repeats included. */
  readonly received: RawEvent[] = [];
  /** Storing fails this often before it works. */
  refusals = 0;
  /** Called with what is about to be stored. */
  onStoring: (events: readonly RawEvent[]) => void = () => undefined;
  readonly #options: Partial<DiscordOptions>;
  #stop = new AbortController();
  #running: Promise<void> | undefined;

  private constructor(fake: FakeDiscord, database: TestDatabase, options: Partial<DiscordOptions>) {
    this.fake = fake;
    this.database = database;
    this.#options = options;
    this.channel = this.#open();
  }

  static async open(
    options: FakeDiscordOptions & { readonly channel?: Partial<DiscordOptions> } = {},
  ): Promise<DiscordStage> {
    const { channel = {}, times, ...rest } = options;
    // How soon the channel answers is looked at by one test alone: for the others a slow machine is soon enough.
    const fake = await FakeDiscord.start({ ...rest, times: { answerMs: 30_000, ...times } });
    return new DiscordStage(fake, await openTestDatabase(3), channel);
  }

  #open(): DiscordChannel {
    return new DiscordChannel({
      token: this.fake.token,
      apiUrl: this.fake.apiUrl,
      log: pino({ level: 'silent' }),
      places: createPlaceStore({ db: this.database.db }),
      ...this.#options,
    });
  }

  /** Connects and waits until the gateway says so; another health is waited for on demand. */
  async start(state: 'connected' | 'halted' = 'connected'): Promise<void> {
    this.#stop = new AbortController();
    this.#running = this.channel.run(async (events) => {
      if (this.refusals > 0) {
        this.refusals -= 1;
        throw new Error('the database is down');
      }
      this.onStoring(events);
      this.received.push(...events);
      const known = new Set(this.stored.map(({ dedupKey }) => dedupKey));
      this.stored.push(...events.filter(({ dedupKey }) => !known.has(dedupKey)));
    }, this.#stop.signal);
    await eventually(() => {
      if (this.channel.health().state !== state) throw new Error(`${state}: ${JSON.stringify(this.channel.health())}`);
    });
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    this.#running = undefined;
  }

  /** A new process: nothing of the old one's memory is left. */
  async restart(): Promise<void> {
    await this.stop();
    this.channel = this.#open();
    await this.start();
  }

  get events(): InboundEvent[] {
    return this.stored.flatMap(({ raw }) => [...this.channel.normalise(raw)]);
  }

  /** The texts of the messages that were stored, in their order. */
  get texts(): string[] {
    return this.events.flatMap((event) => (event.type === 'message' ? [event.text] : []));
  }

  /** Waits for the first event that fits. */
  async event<T extends InboundEvent['type']>(
    type: T,
    fits: (event: Extract<InboundEvent, { type: T }>) => boolean = () => true,
  ): Promise<Extract<InboundEvent, { type: T }>> {
    return await eventually(
      () => {
        const is = (event: InboundEvent): event is Extract<InboundEvent, { type: T }> => event.type === type;
        const found = this.events.filter(is).findLast(fits);
        if (found === undefined) throw new Error(`no ${type} among ${JSON.stringify(this.events).slice(0, 1_000)}`);
        return found;
      },
      { interval: 10 },
    );
  }

  conversation(room: string, more: Partial<Conversation> = {}): Conversation {
    return { channel: 'discord', account: this.channel.account, room, kind: 'dm', ...more };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#running !== undefined) await this.stop();
    await this.fake[Symbol.asyncDispose]();
    await this.database[Symbol.asyncDispose]();
  }
}

/** A body of plain Markdown. */
export const markdown = (text: string) => ({ parts: [{ type: 'markdown' as const, markdown: text }] });
