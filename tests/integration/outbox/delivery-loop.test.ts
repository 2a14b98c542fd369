import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { newId } from '#core/kit/ids.ts';
import type { ChannelSender, MessageRef, SendFailure } from '#core/outbox/channel-sender.ts';
import { putMessages } from '#core/outbox/put-messages.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { eventually } from '#tests/support/eventually.ts';
import { plainCapabilities } from '#tests/support/scripted-platform.ts';
import { DeliveryLoop } from '#workers/delivery/delivery-loop.ts';
import { sweepDeliveries } from '#workers/upkeep/sweep-deliveries.ts';

/** What the loop complained about, by its message. */
const complaints: string[] = [];
const log = pino(
  { level: 'warn' },
  {
    write: (line: string) => {
      complaints.push((JSON.parse(line) as { msg: string }).msg);
    },
  },
);
let database: TestDatabase;
let stop: AbortController;
let running: Promise<void> = Promise.resolve();

beforeEach(async () => {
  complaints.length = 0;
  database = await openTestDatabase(4);
  stop = new AbortController();
});
afterEach(async () => {
  stop.abort();
  await running;
  await database[Symbol.asyncDispose]();
});

class Failure extends Error {
  readonly failure: SendFailure;
  constructor(kind: SendFailure['kind']) {
    super(kind);
    this.failure = { kind, reason: 'as planned', afterMs: 10 };
  }
}

/** A platform without a nonce; `send` decides what becomes of each text. */
function platform(send: (text: string) => Promise<void>): ChannelSender & { readonly sent: string[] } {
  const sent: string[] = [];
  const post = async (text: string): Promise<MessageRef> => {
    await send(text);
    sent.push(text);
    return { ids: [String(sent.length)] };
  };
  return {
    sent,
    channel: 'telegram',
    account: '7',
    capabilities: () => plainCapabilities,
    send: async (_conversation, body) => await post(textOf(body)),
    edit: async (_conversation, _ref, body) => await post(textOf(body)),
    delete: async () => {},
    draft: async () => {},
    typing: async () => {},
    classify: (err) => (err instanceof Failure ? err.failure : { kind: 'bad_format', reason: String(err) }),
  };
}

function textOf(body: Parameters<ChannelSender['send']>[1]): string {
  return body.parts.map((part) => ('markdown' in part ? part.markdown : '')).join('');
}

async function says(room: string, text: string): Promise<void> {
  await putMessages(database.db, [
    {
      key: `${room}:${text}`,
      conversation: { channel: 'telegram', account: '7', room, kind: 'dm' },
      importance: 'result',
      body: { parts: [{ type: 'markdown', markdown: text }] },
    },
  ]);
}

async function enlist(): Promise<string> {
  const owner = newId();
  await database.query(`insert into worker (id, host, beat_at) values ($1, 'here', clock_timestamp())`, [owner]);
  return owner;
}

function run(sender: ChannelSender, owner: string): void {
  const loop = new DeliveryLoop({ db: database.db, log, sender, owner });
  running = loop.run(stop.signal);
}

async function states(): Promise<Record<string, string>> {
  const rows = await database.query<{ key: string; state: string }>('select key, state from outbox');
  return Object.fromEntries(rows.map((row) => [row.key, row.state]));
}

test('a platform that is away for longer than any number of tries loses no message', async () => {
  let calls = 0;
  const sender = platform(async () => {
    calls += 1;
    if (calls <= 15) throw new Failure('retry');
  });
  await says('1', 'patient');
  run(sender, await enlist());
  await eventually(async () => expect(await states()).toEqual({ '1:patient': 'sent' }));
  expect(sender.sent).toEqual(['patient']);
});

test('a message that still fails after a day is given up', async () => {
  const sender = platform(async () => await Promise.reject(new Failure('retry')));
  await says('1', 'hopeless');
  await database.query(`update outbox set attempts = 11, created_at = created_at - interval '25 hours'`);
  run(sender, await enlist());
  await eventually(async () => expect(await states()).toEqual({ '1:hopeless': 'dead' }));
});

test('messages that were leased by a claim whose answer got lost are delivered, once', async () => {
  const sender = platform(async () => {});
  const owner = await enlist();
  await says('1', 'leased');
  await says('2', 'pending');
  await database.query(
    `update outbox set state = 'sending', owner = $1, sending_since = clock_timestamp() where key = '1:leased'`,
    [owner],
  );
  await database.query('alter table outbox rename to elsewhere');
  run(sender, owner);
  await eventually(async () => {
    expect(complaints).toContain('outbox could not be read');
  });
  await database.query('alter table elsewhere rename to outbox');
  await eventually(async () => expect(await states()).toEqual({ '1:leased': 'sent', '2:pending': 'sent' }));
  expect(sender.sent.sort()).toEqual(['leased', 'pending']);
});

test('a message that cannot be read is set aside and holds up nobody', async () => {
  const sender = platform(async () => {});
  await says('1', 'broken');
  await says('1', 'behind it');
  await database.query(`update outbox set body = '{"parts": 5}' where key = '1:broken'`);
  run(sender, await enlist());
  await eventually(async () => expect(await states()).toEqual({ '1:broken': 'dead', '1:behind it': 'sent' }));
});

test('an outcome is recorded however long the database refuses, and the message is not sent again', async () => {
  const arrived = Promise.withResolvers<void>();
  const sender = platform(async () => {
    // The table is gone when the outcome is to be recorded.
    await database.query('alter table outbox rename to elsewhere');
    arrived.resolve();
  });
  await says('1', 'once');
  run(sender, await enlist());
  await arrived.promise;
  await eventually(async () => {
    expect(complaints).toContain('outcome of a delivery could not be recorded');
  });
  await database.query('alter table elsewhere rename to outbox');
  await eventually(async () => expect(await states()).toEqual({ '1:once': 'sent' }));
  expect(sender.sent).toEqual(['once']);
});

test('an unknown outcome is told once, not repeated, and corrected when the sender was only slow', async () => {
  const finish = Promise.withResolvers<void>();
  const began = Promise.withResolvers<void>();
  const sender = platform(async (text) => {
    if (text !== 'slow one') return;
    began.resolve();
    await finish.promise;
  });
  await says('1', 'slow one');
  const owner = await enlist();
  run(sender, owner);
  await began.promise;
  await database.query(`update worker set beat_at = beat_at - interval '1 minute'`);
  await eventually(async () => {
    await sweepDeliveries({ db: database.db, log }, sender);
    expect(await states()).toMatchObject({ '1:slow one': 'unknown' });
  });
  await eventually(async () => expect(await states()).toMatchObject({ '1:slow one:unknown': 'sent' }));
  finish.resolve();
  await eventually(async () => expect(await states()).toMatchObject({ '1:slow one': 'sent' }));
  expect(sender.sent.filter((text) => text === 'slow one')).toHaveLength(1);
  expect(sender.sent.filter((text) => text.includes('may have been lost'))).toHaveLength(1);
});
