import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { EventReceiver } from '#bots/receive-events.ts';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import { markEvent } from '#core/inbox/inbox-store.ts';
import { eventually } from '#tests/support/eventually.ts';
import { openTestDatabase, type TestDatabase } from '../../support/database.ts';
import { group, person, TelegramStage } from '../../support/telegram-stage.ts';

const log = pino({ level: 'silent' });
const photo = (name: string) => ({ name, mime: 'image/jpeg', bytes: Buffer.from(name), kind: 'photo' as const });
const five = ['a', 'b', 'c', 'd', 'e'].map(photo);

describe('what comes from Telegram, in which order and how often', () => {
  let database: TestDatabase;
  let stage: TelegramStage;
  let routed: InboundEvent[];
  let stops: AbortController[];
  let works: Promise<unknown>[];

  /** A gateway: `route` ends the event and counts only the first time, as the real one does in its transaction. */
  const start = (route?: (event: InboundEvent) => Promise<void>) => {
    const stop = new AbortController();
    stops.push(stop);
    const receiver = new EventReceiver(
      {
        db: database.db,
        log,
        route: async (id, event) => {
          await route?.(event);
          if (await markEvent(database.db, id, 'routed')) routed.push(event);
        },
      },
      stage.channel,
    );
    receiver.open(stop.signal);
    works.push(receiver.sweep(stop.signal));
    return { receiver, stop };
  };
  const connect = (route?: (event: InboundEvent) => Promise<void>) => {
    const { receiver, stop } = start(route);
    works.push(stage.channel.run(receiver.ingest, stop.signal));
    return stop;
  };
  const count = async (expected: number) =>
    await eventually(() => expect(routed.length).toBe(expected), { interval: 20 });
  const states = async () =>
    (await database.query<{ state: string }>('select state from inbox order by id')).map(({ state }) => state).sort();
  const files = (event: InboundEvent | undefined) =>
    event?.type === 'message' || event?.type === 'command' ? (event.files?.length ?? 0) : 0;

  beforeAll(async () => {
    database = await openTestDatabase();
  });
  beforeEach(async () => {
    await database.query('delete from inbox');
    stage = await TelegramStage.open();
    routed = [];
    stops = [];
    works = [];
  });
  afterEach(async () => {
    for (const stop of stops) stop.abort();
    await Promise.all(works);
    await stage[Symbol.asyncDispose]();
  });
  afterAll(async () => {
    await database[Symbol.asyncDispose]();
  });

  describe('albums', () => {
    it('five pictures with a caption are one message, and what is said next comes after it', async () => {
      connect();
      stage.fake.people.sendsAlbum(group, person, '@switchyard_bot which is best?', five);
      stage.fake.people.says(group, person, '@switchyard_bot and why?');
      await count(2);
      expect(routed).toMatchObject([
        { type: 'message', text: 'which is best?', addressed: 'mention', messageId: '1' },
        { type: 'message', text: 'and why?' },
      ]);
      expect(files(routed[0])).toBe(5);
      expect(await states()).toEqual(['ignored', 'ignored', 'ignored', 'ignored', 'routed', 'routed']);
    });

    it('with a command in the caption is that command with its files', async () => {
      connect();
      stage.fake.people.sendsAlbum(group, person, '/run@switchyard_bot sort these', five);
      await count(1);
      expect(routed).toMatchObject([{ type: 'command', name: 'run', args: 'sort these' }]);
      expect(files(routed[0])).toBe(5);
    });

    it('a picture that comes after its album follows as a message of its own, addressed as the album was', async () => {
      connect();
      stage.fake.people.sendsAlbum(group, person, '@switchyard_bot look', five, 'late');
      await count(1);
      stage.fake.people.sendsAlbum(group, person, '', [photo('f')], 'late');
      await count(2);
      expect(routed).toMatchObject([{ text: 'look' }, { type: 'message', text: '', addressed: 'mention' }]);
      expect([files(routed[0]), files(routed[1])]).toEqual([5, 1]);
    });

    it('other chats do not wait for it', async () => {
      // The album ends only when the other chat has been served: if that waited for it, neither would.
      connect(async ({ conversation }) => {
        if (conversation.kind === 'group') await count(1);
      });
      stage.fake.people.sendsAlbum(group, person, '@switchyard_bot look', five);
      stage.fake.people.says(person, person, 'quick');
      await count(2);
      expect(routed.map((event) => event.conversation.kind)).toEqual(['dm', 'group']);
    });

    it('a gateway that dies while it is held, or between joining and routing, loses and doubles nothing', async () => {
      const dying = connect(async () => await new Promise<never>(() => undefined));
      stage.fake.people.sendsAlbum(person, person, 'look', five);
      // The pieces are joined, and then nothing comes after.
      await eventually(async () =>
        expect(await states()).toEqual(['ignored', 'ignored', 'ignored', 'ignored', 'pending']),
      );
      stage.fake.people.sendsAlbum(group, person, '@switchyard_bot held', five);
      await eventually(async () => expect((await states()).length).toBe(10));
      dying.abort();
      works = [];
      start();
      await count(2);
      expect(routed.map(files)).toEqual([5, 5]);
      expect((await states()).filter((state) => state === 'routed').length).toBe(2);
    });

    it('two gateways that take up the same pieces route them once', async () => {
      // Neither receives; both find what a third has left behind.
      const bot = { id: Number(stage.channel.account), username: 'switchyard_bot' };
      const { receiver: third } = start();
      stage.fake.people.sendsAlbum(person, person, 'look', five);
      stops[0]?.abort();
      await Promise.all(works);
      const updates = [...stage.fake.updates.waiting(undefined)];
      await third.ingest(
        updates.map((update) => ({ dedupKey: String(update.update_id), raw: { bot, receivedAt: 1, update } })),
      );
      start();
      start();
      await count(1);
      await eventually(async () => expect((await states()).filter((state) => state === 'pending')).toEqual([]));
      expect(routed.map(files)).toEqual([5]);
    });
  });

  it('an update that is delivered again has its effect once', async () => {
    connect();
    stage.fake.people.says(person, person, 'once');
    await count(1);
    stage.fake.updates.repeat();
    stage.fake.people.says(person, person, 'next');
    await count(2);
    expect(routed).toMatchObject([{ text: 'once' }, { text: 'next' }]);
    expect((await states()).length).toBe(2);
  });

  it('web hook deliveries that overtook each other are routed in the order they were sent', async () => {
    const { receiver } = start();
    const bot = { id: Number(stage.channel.account), username: 'switchyard_bot' };
    for (const text of ['one', 'two', 'three', 'four']) stage.fake.people.says(person, person, text);
    const updates = [...stage.fake.updates.waiting(undefined)];
    // In one commit: those that overtook each other are waited for a moment only, and a commit may take longer.
    await receiver.ingest(
      [2, 0, 1, 3].map((index) => {
        const update = updates[index];
        return { dedupKey: String(update?.update_id), raw: { bot, receivedAt: 1, via: 'webhook', update } };
      }),
    );
    await count(4);
    expect(routed).toMatchObject(['one', 'two', 'three', 'four'].map((text) => ({ text })));
  });

  it('a web hook delivery that comes too late to be put in order is marked', async () => {
    const { receiver } = start();
    const bot = { id: Number(stage.channel.account), username: 'switchyard_bot' };
    for (const text of ['one', 'two']) stage.fake.people.says(person, person, text);
    const [first, second] = [...stage.fake.updates.waiting(undefined)];
    for (const [index, update] of [second, first].entries()) {
      await receiver.ingest([
        { dedupKey: String(update?.update_id), raw: { bot, receivedAt: 1, via: 'webhook', update } },
      ]);
      await count(index + 1);
    }
    expect(routed).toMatchObject([{ text: 'two' }, { text: 'one', isLate: true }]);
    expect(routed[0]).not.toHaveProperty('isLate');
  });

  it('both announcements of a group that became a supergroup are one event', async () => {
    // The move takes a while; what is said in the new room meanwhile does not overtake it.
    connect(async () => {
      if (routed.length === 0) await new Promise((resolve) => setTimeout(resolve, 200));
    });
    stage.fake.people.migrates(group, -200);
    stage.fake.people.says(-200, person, '@switchyard_bot here');
    await count(2);
    expect(routed).toMatchObject([
      { type: 'membership', change: 'migrated', conversation: { room: '-100' }, newRoom: '-200' },
      { type: 'message', conversation: { room: '-200' } },
    ]);
  });
});
