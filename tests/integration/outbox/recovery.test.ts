import { afterEach, beforeEach, expect, test } from 'vitest';
import { resend } from '#core/outbox/resend.ts';
import { dropMessage, listUndelivered, resendMessage } from '#core/outbox/undelivered.ts';
import { eventually } from '#tests/support/eventually.ts';
import { PlatformFailure, ScriptedPlatform } from '#tests/support/scripted-platform.ts';
import { sweepDeliveries } from '#workers/upkeep/sweep-deliveries.ts';
import { OutboxStage } from './outbox-stage.ts';

let stage: OutboxStage;
beforeEach(async () => {
  stage = await OutboxStage.open();
});
afterEach(async () => {
  await stage[Symbol.asyncDispose]();
});

const rowOf = async (key: string) => (await stage.database.query(`select * from outbox where key = '${key}'`))[0] ?? {};

test('a message of several parts goes on behind the parts that were posted, also by another worker after a crash', async () => {
  const platform = new ScriptedPlatform({ idempotentSend: 'metadata' });
  const stuck = Promise.withResolvers<void>();
  platform.script = async ({ op, text }) => {
    if (op === 'send' && text === 'three' && platform.callsOf('send').length === 3) await stuck.promise;
  };
  const dead = await stage.enlist();
  await stage.says('a', 'one\n\ntwo\n\nthree', { key: 'm' });
  await stage.run(platform, { owner: dead });
  await eventually(() => expect(platform.callsOf('send')).toHaveLength(3));
  await eventually(async () => expect((await rowOf('m'))['posted_ids']).toEqual(['1', '2']));
  await stage.database.query(`update worker set beat_at = beat_at - interval '1 minute' where id = $1`, [dead]);
  await eventually(async () => {
    await sweepDeliveries({ db: stage.database.db, log: stage.log }, platform);
    expect((await rowOf('m'))['state']).toBe('pending');
  });
  await stage.run(platform);
  await stage.settled();
  expect(platform.textsIn('a')).toEqual(['one', 'two', 'three']);
  stuck.reject(new PlatformFailure({ kind: 'retry' }));
});

test('a message that says something else by the time it is tried again replaces the parts that were posted', async () => {
  const platform = new ScriptedPlatform();
  platform.script = async ({ op, text }) => {
    if (op !== 'send' || text !== 'two' || platform.callsOf('send').length > 2) return;
    await stage.says('a', 'new one\n\nnew two', { key: 'm' });
    throw new PlatformFailure({ kind: 'retry' });
  };
  await stage.says('a', 'one\n\ntwo', { key: 'm' });
  await stage.run(platform);
  await stage.settled();
  expect(platform.textsIn('a')).toEqual(['new one', 'new two']);
});

test('an edit that grows a message goes on behind what it has posted', async () => {
  const platform = new ScriptedPlatform();
  await stage.says('a', 'one', { key: 'm' });
  await stage.run(platform);
  await stage.settled();
  let isRefused = false;
  platform.script = ({ op, text }) => {
    if (op !== 'send' || text !== 'three' || isRefused) return;
    isRefused = true;
    throw new PlatformFailure({ kind: 'retry' });
  };
  await stage.says('a', 'one\n\ntwo\n\nthree', { key: 'm' });
  await stage.settled();
  expect(platform.textsIn('a')).toEqual(['one', 'two', 'three']);
});

test('an unknown outcome is looked up where the platform can be asked, and posted only when it is not there', async () => {
  const platform = new ScriptedPlatform({ idempotentSend: 'metadata' });
  platform.script = ({ op, room, text, outboxId }) => {
    if (op !== 'send' || platform.calls.filter((call) => call.text === text).length > 1) return;
    if (room === 'arrived') platform.takeUnheard(room, text, outboxId ?? '');
    throw new PlatformFailure({ kind: 'unknown_outcome', afterMs: 20 });
  };
  await stage.says('arrived', 'there');
  await stage.says('lost', 'not there');
  await stage.run(platform);
  await stage.settled();
  expect(platform.textsIn('arrived')).toEqual(['there']);
  expect(platform.textsIn('lost')).toEqual(['not there']);
  expect(platform.callsOf('find')).toHaveLength(2);
});

test('an unknown outcome is repeated under the same nonce, but not once the platform has forgotten it', async () => {
  const platform = new ScriptedPlatform({ idempotentSend: 'nonce', nonceMs: 120_000 });
  let isLost = true;
  platform.script = ({ op, room, text, outboxId }) => {
    if (op !== 'send' || !isLost) return;
    isLost = false;
    platform.takeUnheard(room, text, outboxId ?? '');
    throw new PlatformFailure({ kind: 'unknown_outcome', afterMs: 20 });
  };
  await stage.says('a', 'once');
  await stage.run(platform);
  await stage.settled();
  expect(platform.textsIn('a')).toEqual(['once']);
  expect(new Set(platform.callsOf('send').map((call) => call.outboxId)).size).toBe(1);

  isLost = true;
  await stage.says('b', 'too late', { importance: 'result' });
  await eventually(async () => expect((await rowOf('b:too late'))['state']).toBe('sent'));
  const dead = await stage.enlist();
  await stage.database.query(
    `update outbox set state = 'sending', owner = $1, platform_ids = null, sending_since = clock_timestamp() - interval '5 minutes'
     where key = 'b:too late'`,
    [dead],
  );
  await stage.database.query(`update worker set beat_at = beat_at - interval '1 minute' where id = $1`, [dead]);
  await eventually(async () => {
    await sweepDeliveries({ db: stage.database.db, log: stage.log }, platform);
    expect((await rowOf('b:too late'))['state']).toBe('unknown');
  });
});

test('where nothing can be asked, an unknown message is listed, told once, and sent again only when a person says so', async () => {
  const platform = new ScriptedPlatform();
  let losses = 1;
  platform.script = ({ text }) => {
    if (text !== 'perhaps' || losses === 0) return;
    losses -= 1;
    throw new PlatformFailure({ kind: 'unknown_outcome' });
  };
  await stage.says('a', 'perhaps');
  const loop = await stage.run(platform);
  await eventually(() => expect(platform.textsIn('a')).toHaveLength(1));
  await stage.settled();
  expect(platform.textsIn('a')).toEqual([expect.stringContaining('may have been lost')]);
  expect(await listUndelivered(stage.database.db)).toEqual([
    expect.objectContaining({ threadKey: 'telegram:7:a:-', state: 'unknown', text: 'perhaps' }),
  ]);
  await stage.database.db.transaction().execute(async (tx) => {
    expect(await resend(tx, 'telegram:7:a:-')).toBe(1);
  });
  loop.nudge();
  await stage.settled();
  expect(platform.textsIn('a')).toContain('perhaps');
  expect(await listUndelivered(stage.database.db)).toEqual([]);
});

test('a dead message is listed with its reason; it can be sent again, or dropped and seen no more', async () => {
  const platform = new ScriptedPlatform();
  let isClosed = true;
  const unreachable: string[] = [];
  platform.script = () => {
    if (isClosed) throw new PlatformFailure({ kind: 'unreachable', reason: 'blocked by the user' });
  };
  await stage.says('a', 'again');
  await stage.says('b', 'never mind');
  const loop = await stage.run(platform, {
    noteUnreachable: async ({ room }, reason) => {
      unreachable.push(`${room}: ${reason}`);
    },
  });
  await stage.settled();
  const listed = await listUndelivered(stage.database.db);
  expect(listed.map(({ state, text, reason }) => ({ state, text, reason }))).toEqual(
    expect.arrayContaining([
      { state: 'dead', text: 'again', reason: 'unreachable: blocked by the user' },
      { state: 'dead', text: 'never mind', reason: 'unreachable: blocked by the user' },
    ]),
  );
  expect(unreachable.sort()).toEqual(['a: blocked by the user', 'b: blocked by the user']);
  isClosed = false;
  const idOf = (text: string) => listed.find((message) => message.text === text)?.id ?? '';
  expect(await resendMessage(stage.database.db, idOf('again'))).toBe(true);
  expect(await dropMessage(stage.database.db, idOf('never mind'))).toBe(true);
  expect(await dropMessage(stage.database.db, idOf('never mind'))).toBe(false);
  expect(await resendMessage(stage.database.db, 'no id')).toBe(false);
  loop.nudge();
  await stage.settled();
  expect(await listUndelivered(stage.database.db)).toEqual([]);
  expect(platform.textsIn('a')).toEqual(['again']);
});

test('a message somebody deleted is posted anew, and the next edit finds the new one', async () => {
  const platform = new ScriptedPlatform();
  await stage.says('a', 'one', { key: 'm' });
  await stage.run(platform);
  await stage.settled();
  platform.messages.clear();
  await stage.says('a', 'two', { key: 'm' });
  await stage.settled();
  expect(platform.textsIn('a')).toEqual(['two']);
  await stage.says('a', 'three', { key: 'm' });
  await stage.settled();
  expect(platform.textsIn('a')).toEqual(['three']);
});

test('a room that has moved is followed, and the message is delivered there', async () => {
  const platform = new ScriptedPlatform();
  const moves: string[] = [];
  platform.script = ({ room }) => {
    if (room === '-5') throw new PlatformFailure({ kind: 'moved', newRoom: '-1005' });
  };
  await stage.says('-5', 'where are you', { thread: '3' });
  await stage.run(platform, {
    moveRoom: async ({ room }, newRoom) => {
      moves.push(`${room} to ${newRoom}`);
    },
  });
  await stage.settled();
  expect(moves).toEqual(['-5 to -1005']);
  expect(platform.textsIn('-1005')).toEqual(['where are you']);
  expect((await rowOf('-5:where are you'))['thread_key']).toBe('telegram:7:-1005:3');
});

test('a refused token is noted once, and what is to be said waits for a valid one', async () => {
  const platform = new ScriptedPlatform();
  const notes: string[] = [];
  let isRefused = true;
  platform.script = () => {
    if (isRefused) throw new PlatformFailure({ kind: 'auth', reason: 'token revoked', afterMs: 10 });
  };
  for (const room of ['a', 'b', 'c']) await stage.says(room, 'kept');
  const loop = await stage.run(platform, {
    noteRefused: async (reason) => {
      notes.push(reason);
    },
  });
  await eventually(() => expect(notes).toEqual(['token revoked']));
  // Three went out together before the first refusal was known; nothing follows while it lasts.
  await eventually(async () => {
    const refused = await stage.database.query(
      `select 1 from outbox where state = 'pending' and last_error = 'auth: token revoked'`,
    );
    expect(refused).toHaveLength(3);
  });
  await stage.says('d', 'kept');
  await stage.looked();
  expect(platform.calls).toHaveLength(3);
  isRefused = false;
  await stage.database.query('update delivery_pace set paused_until = null');
  loop.nudge();
  await stage.settled();
  expect(platform.messages.size).toBe(4);
  expect(notes).toHaveLength(1);
});

test('a message that always fails is overtaken after a while, listed, and still tried', async () => {
  const platform = new ScriptedPlatform();
  let isBroken = true;
  platform.script = ({ text }) => {
    if (text === 'poison' && isBroken) throw new PlatformFailure({ kind: 'retry', afterMs: 20 });
  };
  await stage.says('a', 'poison');
  await stage.says('b', 'well');
  const loop = await stage.run(platform);
  const triesOfPoison = () => platform.calls.filter((call) => call.text === 'poison').length;
  await eventually(() => expect(triesOfPoison()).toBeGreaterThanOrEqual(3));
  await stage.says('a', 'behind it');
  const tries = triesOfPoison();
  await eventually(() => expect(triesOfPoison()).toBeGreaterThanOrEqual(tries + 3));
  expect(platform.textsIn('a')).toEqual([]);
  // Three minutes later.
  await stage.database.query(`update outbox set attempts = 5, first_failed_at = first_failed_at - interval '3 minutes'
    where key = 'a:poison' and first_failed_at is not null`);
  await eventually(() => expect(platform.textsIn('a')).toEqual(['behind it']));
  // Between two tries it is listed as failing; in the moment of one it is being sent.
  await eventually(async () =>
    expect(await listUndelivered(stage.database.db)).toEqual([
      expect.objectContaining({ text: 'poison', state: 'failing', reason: 'retry: as planned' }),
    ]),
  );
  isBroken = false;
  loop.nudge();
  await stage.settled();
  expect(platform.textsIn('a')).toEqual(['behind it', 'poison']);
});

test('while the platform is away for everybody, nobody is overtaken', async () => {
  const platform = new ScriptedPlatform();
  let isAway = true;
  platform.script = () => {
    if (isAway) throw new PlatformFailure({ kind: 'retry', afterMs: 20 });
  };
  await stage.says('a', 'first');
  await stage.says('a', 'second');
  await stage.run(platform);
  await eventually(async () => expect((await rowOf('a:first'))['attempts']).toBeGreaterThanOrEqual(5));
  await stage.database.query(`update outbox set first_failed_at = first_failed_at - interval '3 minutes'`);
  await eventually(async () => expect((await rowOf('a:first'))['attempts']).toBeGreaterThanOrEqual(8));
  isAway = false;
  await stage.settled();
  expect(platform.textsIn('a')).toEqual(['first', 'second']);
});

test('a result that comes late says so; old progress and old notices are given up', async () => {
  const platform = new ScriptedPlatform();
  await stage.says('a', 'late result');
  await stage.says('b', 'old progress', { importance: 'progress' });
  await stage.says('c', 'old notice', { importance: 'notice' });
  await stage.says('d', 'approve this?', { importance: 'approval' });
  await stage.database.query(
    `update outbox set revised_at = revised_at - interval '25 hours', created_at = created_at - interval '25 hours'`,
  );
  const { dropStale } = await import('#core/outbox/drop-stale.ts');
  expect(await dropStale(stage.database)).toBe(2);
  await stage.run(platform);
  await stage.settled();
  expect(platform.textsIn('a')).toEqual([expect.stringMatching(/^Delayed: .* 25 hours ago/), 'late result']);
  expect(platform.textsIn('d')[0]).toContain('Delayed');
  expect(await stage.states()).toMatchObject({ 'b:old progress': 'dead', 'c:old notice': 'dead' });
  expect((await listUndelivered(stage.database.db)).map((message) => message.text)).toEqual(['old notice']);
});

test('the final words of an answer arrive although its preview was given up as stale', async () => {
  const platform = new ScriptedPlatform();
  await stage.says('a', 'growing …', { key: 'm', importance: 'progress', isFinal: false, validMs: 1 });
  await stage.database.query(`update outbox set expires_at = expires_at - interval '1 second'`);
  const { dropStale } = await import('#core/outbox/drop-stale.ts');
  await dropStale(stage.database);
  expect(await stage.states()).toEqual({ m: 'dead' });
  await stage.says('a', 'all of it', { key: 'm' });
  await stage.says('a', 'a preview that comes too late', { key: 'm', importance: 'progress', isFinal: false });
  await stage.run(platform);
  await stage.settled();
  expect(platform.textsIn('a')).toEqual(['all of it']);
});

test('a reply to a command that comes too late for the platform becomes a plain message', async () => {
  const platform = new ScriptedPlatform();
  let tries = 0;
  platform.script = () => {
    tries += 1;
    if (tries === 1) throw new PlatformFailure({ kind: 'expired' });
  };
  await stage.says('a', 'here it is', {
    body: { parts: [{ type: 'markdown', markdown: 'here it is' }], interactionToken: 'token' },
  });
  await stage.run(platform);
  await stage.settled();
  expect(platform.textsIn('a')).toEqual(['here it is']);
});

test('a file is put into the body right before it is sent', async () => {
  const platform = new ScriptedPlatform();
  await stage.says('a', 'with a file');
  await stage.run(platform, {
    hydrate: async (body, { room }) => ({
      ...body,
      parts: [...body.parts, { type: 'markdown', markdown: `bytes for ${room}` }],
    }),
  });
  await stage.settled();
  expect(platform.textsIn('a')).toEqual(['with a file', 'bytes for a']);
});
