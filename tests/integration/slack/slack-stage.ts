import { pino } from 'pino';
import type { RawEvent } from '#bots/channel.ts';
import { SlackChannel } from '#bots/slack/slack-channel.ts';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import { type Clock, systemClock } from '#core/kit/clock.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { eventually } from '#tests/support/eventually.ts';
import { FakeSlack, type FakeSlackOptions } from '../../fakes/slack/fake-slack.ts';
import { serveRoutes } from './serve-routes.ts';

export const alice = 'U100ALICE';
export const bob = 'U100BOB';
export const room = 'C100ROOM';

export interface StageOptions {
  readonly mode?: 'socket' | 'http';
  readonly hasDmThreads?: boolean;
  readonly fake?: FakeSlackOptions;
  readonly clock?: ConstructorParameters<typeof SlackChannel>[0]['clock'];
}

/** Events that are not acknowledged come again soon, however often that takes. */
export const repeatsSoon = { limits: { ackMs: 300, retriesMax: 1_000 } };

/** A clock that stands still. */
export function standingClock(now = new Date('2026-03-01T12:00:00Z')): Clock {
  return { now: () => now, sleep: systemClock.sleep.bind(systemClock) };
}

/** A fake workspace with a channel that is running, and everything it stored. */
export class SlackStage implements AsyncDisposable {
  readonly fake: FakeSlack;
  readonly channel: SlackChannel;
  readonly received: RawEvent[] = [];
  /** Log lines, as JSON. */
  readonly lines: string[];
  /** Storing fails while this is set. */
  isDatabaseDown = false;
  /** Resolved before anything is stored. */
  beforeStore: Promise<void> = Promise.resolve();
  hookUrl = '';
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #hook: AsyncDisposable | undefined;

  private constructor(fake: FakeSlack, channel: SlackChannel, lines: string[]) {
    this.fake = fake;
    this.channel = channel;
    this.lines = lines;
  }

  /** Opens everything; the channel is connected when this resolves. */
  static async open(options: StageOptions = {}): Promise<SlackStage> {
    const stage = await SlackStage.prepare(options);
    await stage.start();
    return stage;
  }

  /** Opens everything but does not start the channel. */
  static async prepare(options: StageOptions = {}): Promise<SlackStage> {
    // What is not about these times has as much of them as it needs.
    const limits = { ackMs: 30_000, triggerMs: 30_000, ...options.fake?.limits };
    const fake = await FakeSlack.start({ ...options.fake, limits });
    fake.people.channel(room, [alice, bob]);
    const lines: string[] = [];
    const channel = new SlackChannel({
      botToken: fake.botToken,
      apiUrl: fake.apiUrl,
      hasDmThreads: options.hasDmThreads ?? true,
      log: pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) }),
      ...(options.mode === 'http' ? { signingSecret: fake.signingSecret } : { appToken: fake.appToken }),
      ...(options.clock === undefined ? {} : { clock: options.clock }),
    });
    const stage = new SlackStage(fake, channel, lines);
    if (options.mode === 'http') {
      const hook = await serveRoutes(channel.routes);
      stage.#hook = hook;
      stage.hookUrl = `${hook.url}/hooks/slack/events`;
      fake.useHook(stage.hookUrl);
    }
    return stage;
  }

  async start(): Promise<void> {
    this.run();
    await this.until(() => this.channel.health().state === 'connected');
  }

  run(): void {
    this.#running = this.channel.run(async (events) => {
      await this.beforeStore;
      if (this.isDatabaseDown) throw new Error('the database is down');
      this.received.push(...events);
    }, this.#stop.signal);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** Stored events, each key once, as the inbox would keep them. */
  get events(): InboundEvent[] {
    const byKey = new Map(this.received.map((event) => [event.dedupKey, event]));
    return [...byKey.values()].flatMap(({ raw }) => this.channel.normalise(raw));
  }

  get texts(): string[] {
    return this.events.flatMap((event) => (event.type === 'message' ? [event.text] : []));
  }

  async until(probe: () => boolean): Promise<void> {
    await eventually(
      () => {
        if (!probe()) throw new Error(`not yet; health ${JSON.stringify(this.channel.health())}`);
      },
      { interval: 10 },
    );
  }

  /** A place in the workspace. */
  at(
    place: { readonly room?: string; readonly thread?: string; readonly kind?: Conversation['kind'] } = {},
  ): Conversation {
    const id = place.room ?? room;
    return {
      channel: 'slack',
      account: this.channel.account,
      space: this.fake.world.teamId,
      room: id,
      kind: place.kind ?? (id.startsWith('D') ? 'dm' : 'channel'),
      ...(place.thread === undefined ? {} : { thread: place.thread }),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.#hook?.[Symbol.asyncDispose]();
    await this.fake[Symbol.asyncDispose]();
  }
}
