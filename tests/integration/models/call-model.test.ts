import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Clock, systemClock } from '#core/kit/clock.ts';
import { AppError } from '#core/kit/errors.ts';
import { type Cooldowns, createCooldowns } from '#core/models/cooldown.ts';
import { createCooldownStore } from '#core/models/cooldown-store.ts';
import type { ModelMessage } from '#core/models/model-port.ts';
import { type ModelRef, modelRef } from '#core/models/model-ref.ts';
import { createPriceBook } from '#core/models/price-book.ts';
import { createPriceStore } from '#core/models/price-store.ts';
import { type ModelServer, type Script, startModelServer } from '#tests/fakes/model-server.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';
import { eventually } from '#tests/support/eventually.ts';
import { callModel } from '#workers/models/call-model.ts';
import type {
  AttemptOutcome,
  CallEvent,
  CallModelDeps,
  CallModelInput,
  ModelAttempt,
} from '#workers/models/model-call.ts';
import { createModelPorts } from '#workers/models/model-ports.ts';
import { createPictureRefusals } from '#workers/models/picture-refusals.ts';
import { execTool, refOf, settingsFor, textOfMessage, user } from './model-fixture.ts';

const log = pino({ level: 'silent' });
let database: TestDatabase;
let server: ModelServer;

beforeAll(async () => {
  database = await openTestDatabase();
  server = await startModelServer({ script: [{ text: 'ok' }] });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await database.query('truncate model_cooldown, model_price');
});

const gpt = refOf('openai.chat');
const claude = refOf('anthropic.messages');

/** A clock whose waits are recorded and pass at once. */
function instantClock(): Clock & { readonly waits: number[] } {
  const waits: number[] = [];
  let aheadMs = 0;
  return {
    waits,
    now: () => new Date(Date.now() + aheadMs),
    sleep: async (ms, signal) => {
      signal?.throwIfAborted();
      waits.push(ms);
      aheadMs += ms;
    },
  };
}

function depsWith(clock: Clock = systemClock): CallModelDeps & { readonly cooldowns: Cooldowns } {
  return {
    portFor: createModelPorts(settingsFor(server)),
    prices: createPriceBook({ store: createPriceStore(database), settings: {}, clock, log }),
    cooldowns: createCooldowns({ store: createCooldownStore(database), clock, log }),
    pictureRefusals: createPictureRefusals({ clock }),
    clock,
    log,
    random: () => 0.5,
  };
}

interface Recorded {
  readonly events: CallEvent[];
  readonly before: ModelAttempt[];
  readonly after: AttemptOutcome[];
  readonly input: CallModelInput;
}

function inputFor(chain: readonly ModelRef[], changes: Partial<CallModelInput> = {}): Recorded {
  const events: CallEvent[] = [];
  const before: ModelAttempt[] = [];
  const after: AttemptOutcome[] = [];
  const input: CallModelInput = {
    chain,
    request: { messages: [user('Hello')], tools: [execTool], outputTokensMax: 1000 },
    deadlineMs: 60_000,
    timeouts: { headerMs: 30_000, idleMs: 30_000 },
    signal: new AbortController().signal,
    onEvent: (event) => {
      events.push(event);
    },
    beforeAttempt: async (attempt) => {
      before.push(attempt);
    },
    afterAttempt: async (_, outcome) => {
      after.push(outcome);
    },
    ...changes,
  };
  return { events, before, after, input };
}

async function failing(promise: Promise<unknown>): Promise<AppError> {
  const err = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (err instanceof AppError) return err;
  throw new Error('no AppError was thrown', { cause: err });
}

/** Per wire one list of replies. */
function byWire(scripts: { chat?: Script; messages?: Script }): Script {
  const counts = { chat: 0, messages: 0 };
  return (request) => {
    const key = request.wire === 'anthropic.messages' ? 'messages' : 'chat';
    const script = scripts[key];
    if (!Array.isArray(script)) throw new Error(`nobody expected a ${key} call`);
    const index = counts[key];
    counts[key] += 1;
    return script[Math.min(index, script.length - 1)];
  };
}

describe('one model', () => {
  test('an answer comes with its cost, and the hold around it is settled once', async () => {
    server.use([{ text: 'Hi there', usage: { input: 1000, output: 100, cacheRead: 0 } }]);
    const { input, before, after, events } = inputFor([gpt]);
    const result = await callModel(depsWith(), input);
    expect(textOfMessage(result.message)).toBe('Hi there');
    // gpt-5: 1.25 USD per million in, 10 out.
    expect(result).toMatchObject({ stop: 'stop', costMicros: 2250n, attempts: 1, ref: gpt });
    expect(before).toHaveLength(1);
    expect(before[0]?.worstCaseMicros).toBeGreaterThan(10_000n);
    expect(after).toEqual([{ state: 'settled', usage: result.usage, costMicros: 2250n }]);
    expect(events.map((event) => (event.type === 'text' ? event.delta : '')).join('')).toBe('Hi there');
  });

  test('an unpriced model says so before it is called', async () => {
    server.use([{ text: 'x' }]);
    const { input, before } = inputFor([modelRef('openai', 'gpt-99')]);
    expect((await callModel(depsWith(), input)).costMicros).toBe(0n);
    expect(before[0]?.worstCaseMicros).toBe('unpriced');
  });

  test('a price the operator set counts', async () => {
    const rates = { inputMicros: 1_000_000n, outputMicros: 2_000_000n };
    await createPriceStore(database).put({ provider: 'openai', model: 'gpt-99', rates });
    server.use([{ text: 'x', usage: { input: 1000, output: 100, cacheRead: 0 } }]);
    const { input } = inputFor([modelRef('openai', 'gpt-99')]);
    expect((await callModel(depsWith(), input)).costMicros).toBe(1200n);
  });

  test('a budget that refuses ends the call before anything is sent', async () => {
    server.use([{ text: 'x' }]);
    const { input, after } = inputFor([gpt, claude], {
      beforeAttempt: async () => {
        throw new AppError('budget.exhausted', 'The daily budget is used up.');
      },
    });
    expect((await failing(callModel(depsWith(), input))).code).toBe('budget.exhausted');
    expect(server.requestCount()).toBe(0);
    expect(after).toHaveLength(0);
  });

  test('a server error is retried with a jittered wait, and the failed attempt is released', async () => {
    server.use([{ fault: 'server_error' }, { fault: 'overloaded' }, { text: 'third time' }]);
    const clock = instantClock();
    const { input, after } = inputFor([gpt]);
    const result = await callModel(depsWith(clock), input);
    expect(result.attempts).toBe(3);
    expect(after.map((outcome) => outcome.state)).toEqual(['released', 'released', 'settled']);
    expect(clock.waits).toEqual([250, 500]);
  });

  test('a Retry-After of a second is kept', async () => {
    server.use([{ fault: 'rate_limited', retryAfter: '1' }, { text: 'ok' }]);
    const clock = instantClock();
    await callModel(depsWith(clock), inputFor([gpt]).input);
    expect(clock.waits[0]).toBeGreaterThanOrEqual(1000);
    expect(clock.waits[0]).toBeLessThan(1300);
  });

  test('a Retry-After of 100 s is not waited for, and the error says when to come back', async () => {
    server.use([{ fault: 'rate_limited', retryAfter: '100' }]);
    const clock = instantClock();
    const error = await failing(callModel(depsWith(clock), inputFor([gpt]).input));
    expect(error).toMatchObject({ code: 'model.rate_limited', retryAfterMs: 100_000 });
    expect(error.text).toMatch(/2 min/);
    expect(server.requestCount()).toBe(1);
    expect(clock.waits).toEqual([]);
  });

  test.each([
    ['billing', 'model.billing'],
    ['auth', 'model.auth'],
    ['context', 'model.context'],
  ] as const)('%s is not tried again', async (fault, code) => {
    server.use([{ fault }]);
    const error = await failing(callModel(depsWith(), inputFor([gpt]).input));
    expect(error.code).toBe(code);
    expect(error.mend).toBeDefined();
    expect(error.isForChat).toBe(true);
    expect(server.requestCount()).toBe(1);
  });

  test('nothing is asked again once text was shown, and what arrived is charged', async () => {
    server.use([{ fault: 'eof' }]);
    const { input, after } = inputFor([gpt, claude]);
    const error = await failing(callModel(depsWith(), input));
    expect(error.code).toBe('model.protocol');
    expect(server.requestCount()).toBe(1);
    expect(after).toMatchObject([{ state: 'settled', usage: { source: 'estimated' } }]);
  });

  test('a caller that allows it is told to take the text back, and gets a whole answer', async () => {
    server.use([{ fault: 'reset' }, { text: 'whole' }]);
    const { input, events } = inputFor([gpt], { restartAfterOutput: true });
    const result = await callModel(depsWith(instantClock()), input);
    const restart = events.findIndex((event) => event.type === 'restart');
    expect(restart).toBeGreaterThan(0);
    const shown = events.slice(restart).map((event) => (event.type === 'text' ? event.delta : ''));
    expect(shown.join('')).toBe('whole');
    expect(textOfMessage(result.message)).toBe('whole');
  });

  test('an empty answer is asked for once more, then it is an error', async () => {
    server.use([{ text: '' }, { text: 'Now then.' }]);
    const result = await callModel(depsWith(), inputFor([gpt]).input);
    expect(textOfMessage(result.message)).toBe('Now then.');
    expect(JSON.stringify(server.requests[1]?.body['messages'])).toContain('Your last answer was empty');

    server.use([{ text: '' }]);
    expect((await failing(callModel(depsWith(), inputFor([gpt]).input))).code).toBe('model.protocol');
    expect(server.requestCount()).toBe(2);
  });

  test('an answer whose whole limit went into thinking says which setting helps', async () => {
    server.use([{ text: '', reasoning: 'long', stop: 'length' }]);
    const error = await failing(callModel(depsWith(), inputFor([gpt]).input));
    expect(error.text).toContain('output_tokens_max');
  });

  test('a refusal without words still tells something', async () => {
    server.use([{ text: '', stop: 'content_filter' }]);
    const result = await callModel(depsWith(), inputFor([gpt]).input);
    expect(result.stop).toBe('refused');
    expect(result.message.parts).toContainEqual({ type: 'refusal', text: 'The model declined to answer this.' });
  });

  test('the deadline holds across attempts and waits', async () => {
    server.use([{ fault: 'server_error', retryAfter: '20' }]);
    const { input } = inputFor([gpt], { deadlineMs: 35_000 });
    const clock = instantClock();
    const error = await failing(callModel(depsWith(clock), input));
    expect(error.code).toBe('model.unavailable');
    // The first wait of 20 s fits, the second does not.
    expect(server.requestCount()).toBe(2);
  });

  test('a slow answer ends at the deadline', async () => {
    server.use([{ fault: 'stall' }]);
    const { input } = inputFor([gpt, claude], { deadlineMs: 2_000, timeouts: { idleMs: 60_000 } });
    expect((await failing(callModel(depsWith(), input))).code).toBe('model.timeout');
    expect(server.requestCount()).toBe(1);
  });

  test.each(['call', 'wait'])('a cancelled %s ends as cancelled and settles its hold', async (when) => {
    server.use([when === 'call' ? { fault: 'stall' } : { fault: 'rate_limited', retryAfter: '20' }]);
    const controller = new AbortController();
    const { input, before, after } = inputFor([gpt, claude], { signal: controller.signal });
    const error = failing(callModel(depsWith(), input));
    if (when === 'call') await eventually(() => expect(server.requestCount()).toBe(1));
    else await eventually(() => expect(after).toHaveLength(1));
    controller.abort();
    expect((await error).code).toBe('turn.cancelled');
    expect(after).toHaveLength(before.length);
  });
});

describe('a paused answer', () => {
  test('is continued with what was said, and comes back as one message', async () => {
    server.use([{ text: 'First, ', stop: 'pause_turn' }, { text: 'second.' }]);
    const { input, before } = inputFor([claude]);
    const result = await callModel(depsWith(), input);
    expect(textOfMessage(result.message)).toBe('First, second.');
    expect(result).toMatchObject({ stop: 'stop', attempts: 2, usage: { input: 200, output: 40 } });
    expect(server.requests[1]?.body['messages']).toMatchObject([
      { role: 'user' },
      { role: 'assistant', content: [{ type: 'text', text: 'First, ' }] },
    ]);
    expect(before.map((attempt) => attempt.attemptNumber)).toEqual([1, 2]);
  });

  test('is given up after five continuations', async () => {
    server.use([{ text: 'and ', stop: 'pause_turn' }]);
    expect((await failing(callModel(depsWith(), inputFor([claude]).input))).code).toBe('model.protocol');
    expect(server.requestCount()).toBe(6);
  });
});

describe('fallbacks', () => {
  test("a failing model is followed by the next one, without the first one's private blocks", async () => {
    const native = { wire: 'openai.chat', model: gpt.text, blocks: { message: {}, calls: {} } } as const;
    const history: ModelMessage[] = [
      user('run it'),
      {
        role: 'assistant',
        parts: [
          { type: 'reasoning', text: 'secret' },
          { type: 'text', text: 'Sure.' },
        ],
        native,
      },
      user('go on'),
    ];
    server.use(byWire({ chat: [{ fault: 'billing' }], messages: [{ text: 'from claude' }] }));
    const { input, before, after } = inputFor([gpt, claude], {
      request: { messages: history, tools: [], outputTokensMax: 100 },
    });
    const result = await callModel(depsWith(), input);
    expect(result.ref).toEqual(claude);
    expect(before.map((attempt) => attempt.ref.text)).toEqual([gpt.text, claude.text]);
    expect(after.map((outcome) => outcome.state)).toEqual(['released', 'settled']);
    const sent = JSON.stringify(server.requests.at(-1)?.body['messages']);
    expect(sent).toContain('Sure.');
    expect(sent).not.toContain('secret');
  });

  test("when all fail the first one's error is told, with the others named", async () => {
    server.use(byWire({ chat: [{ fault: 'auth' }], messages: [{ fault: 'overloaded' }] }));
    const error = await failing(callModel(depsWith(instantClock()), inputFor([gpt, claude]).input));
    expect(error.code).toBe('model.auth');
    expect(error.text).toContain(claude.text);
    expect(error.text).toContain('OPENAI_API_KEY');
  });

  test('a prompt that is too long is not sent to another model', async () => {
    server.use(byWire({ chat: [{ fault: 'context' }] }));
    expect((await failing(callModel(depsWith(), inputFor([gpt, claude]).input))).code).toBe('model.context');
  });

  test('a provider without a key is passed over without a cool-down, because another worker may have the key', async () => {
    server.use([{ text: 'from claude' }]);
    const { input, before } = inputFor([modelRef('groq', 'openai/gpt-oss-120b'), claude]);
    expect((await callModel(depsWith(), input)).ref).toEqual(claude);
    expect(before).toHaveLength(1);
    expect(await database.query('select * from model_cooldown')).toEqual([]);
  });

  test('a chain of one unset provider says which variable is missing', async () => {
    const error = await failing(callModel(depsWith(), inputFor([modelRef('groq', 'openai/gpt-oss-120b')]).input));
    expect(error).toMatchObject({ code: 'model.auth', mend: expect.stringContaining('GROQ_API_KEY') });
  });
});

describe('cool-downs', () => {
  test('a model that failed is passed over by this worker and by others', async () => {
    server.use(byWire({ chat: [{ fault: 'rate_limited', retryAfter: '100' }], messages: [{ text: 'ok' }] }));
    const here = depsWith();
    await callModel(here, inputFor([gpt, claude]).input);
    expect(server.requestCount()).toBe(2);
    await callModel(here, inputFor([gpt, claude]).input);
    expect(server.requestCount()).toBe(3);
    await callModel(depsWith(), inputFor([gpt, claude]).input);
    expect(server.requestCount()).toBe(4);
    const rows = await database.query('select provider, model, reason from model_cooldown');
    expect(rows).toEqual([{ provider: 'openai', model: 'gpt-5', reason: 'rate' }]);
  });

  test('a wrong key rests the whole provider', async () => {
    server.use(byWire({ chat: [{ fault: 'auth' }], messages: [{ text: 'ok' }] }));
    const deps = depsWith();
    await callModel(deps, inputFor([gpt, claude]).input);
    await callModel(deps, inputFor([modelRef('openai', 'gpt-4o'), claude]).input);
    expect(server.requests.map((request) => request.wire)).toEqual([
      'openai.chat',
      'anthropic.messages',
      'anthropic.messages',
    ]);
  });

  test('a resting model with no alternative is tried anyway, unless only a person can mend it', async () => {
    server.use([{ fault: 'server_error' }]);
    const deps = depsWith(instantClock());
    await failing(callModel(deps, inputFor([gpt]).input));
    server.use([{ text: 'back again' }]);
    expect(textOfMessage((await callModel(deps, inputFor([gpt]).input)).message)).toBe('back again');
    expect(await database.query('select * from model_cooldown')).toEqual([]);

    server.use([{ fault: 'billing' }]);
    await failing(callModel(deps, inputFor([gpt]).input));
    server.use([{ text: 'never asked' }]);
    const error = await failing(callModel(deps, inputFor([gpt]).input));
    expect(error).toMatchObject({ code: 'model.billing', retryAfterMs: expect.any(Number) });
    expect(server.requestCount()).toBe(0);
  });

  test('repeated failures rest longer, and a running rest is never shortened', async () => {
    const store = createCooldownStore(database);
    const row = { provider: 'openai', model: 'gpt-5', baseMs: 10_000, maxMs: 60_000 } as const;
    const rests: number[] = [];
    for (let failure = 0; failure < 4; failure += 1) rests.push(await store.start({ ...row, reason: 'transient' }));
    expect(rests.map((ms) => Math.round(ms / 1000))).toEqual([10, 20, 40, 60]);
    // What has passed of the minute is gone, and nothing else.
    expect(await store.start({ ...row, reason: 'rate', baseMs: 1000, maxMs: 1000 })).toBeGreaterThan(30_000);
  });

  test('a database that is away does not stop model calls', async () => {
    server.use([{ text: 'still here' }]);
    const gone = () => Promise.reject(new Error('connection refused'));
    const deps: CallModelDeps = {
      ...depsWith(),
      cooldowns: createCooldowns({ store: { list: gone, start: gone, clear: gone }, clock: systemClock, log }),
      prices: createPriceBook({
        store: { list: gone, put: gone, remove: gone },
        settings: {},
        clock: systemClock,
        log,
      }),
    };
    expect(textOfMessage((await callModel(deps, inputFor([gpt]).input)).message)).toBe('still here');
  });
});

test('a history with a lost tool result is mended before it is sent', async () => {
  server.use([{ text: 'ok' }]);
  const call = {
    type: 'tool_call',
    id: 'c1',
    name: 'exec',
    rawArguments: '{"command":"ls"}',
    parsed: { ok: true, arguments: { command: 'ls' } },
  } as const;
  const messages: ModelMessage[] = [user('run'), { role: 'assistant', parts: [call] }, user('well?')];
  await callModel(
    depsWith(),
    inputFor([claude], { request: { messages, tools: [execTool], outputTokensMax: 100 } }).input,
  );
  expect(server.requests[0]?.body['messages']).toMatchObject([
    { role: 'user' },
    { role: 'assistant', content: [{ type: 'tool_use', id: 'c1' }] },
    {
      role: 'user',
      content: [
        { type: 'tool_result', tool_use_id: 'c1', is_error: true },
        { type: 'text', text: 'well?' },
      ],
    },
  ]);
});

test('text of a model that broke off for good is taken back before its fallback speaks', async () => {
  server.use(byWire({ chat: [{ fault: 'eof' }], messages: [{ text: 'from claude' }] }));
  const { input, events } = inputFor([gpt, claude], { restartAfterOutput: true });
  await callModel(depsWith(instantClock()), input);
  const kinds = events.map((event) => event.type).filter((type, index, all) => type !== all[index - 1]);
  expect(kinds).toEqual(['text', 'restart', 'text', 'restart', 'text', 'restart', 'text']);
  expect(events.at(-1)).toMatchObject({ type: 'text' });
});

test('the partial text of a last failure is left to the caller', async () => {
  server.use([{ fault: 'eof' }]);
  const { input, events } = inputFor([gpt], { restartAfterOutput: true });
  await failing(callModel(depsWith(instantClock()), input));
  expect(events.at(-1)?.type).toBe('text');
});

describe('a picture the vendor refuses', () => {
  const refusal = (message: string, status = 400) => ({
    raw: {
      status,
      headers: { 'content-type': 'application/json' },
      steps: [JSON.stringify({ error: { type: 'invalid_request_error', message } })],
    },
  });
  const seen: ModelMessage = {
    role: 'user',
    parts: [
      { type: 'text', text: 'Look' },
      { type: 'image', mime: 'image/png', dataBase64: 'QkFE' },
    ],
  };
  const withPicture = { request: { messages: [seen], tools: [], outputTokensMax: 100 } };

  test('does not block the conversation: the answer is asked for without it', async () => {
    server.use([refusal('Could not process image'), { text: 'I could not see it.' }]);
    const { input, before, after } = inputFor([gpt], withPicture);
    expect(textOfMessage((await callModel(depsWith(), input)).message)).toBe('I could not see it.');
    const [first, second] = server.requests.map(({ body }) => JSON.stringify(body));
    expect(first).toContain('QkFE');
    expect(second).not.toContain('QkFE');
    expect(second).toContain('could not be shown to you');
    // Each attempt had its own hold and gave it back or was charged.
    expect([before.length, after.length]).toEqual([2, 2]);
  });

  const picture = (dataBase64: string) => ({ type: 'image', mime: 'image/png', dataBase64 }) as const;
  const ask = async (
    deps: CallModelDeps,
    chain: readonly ModelRef[],
    ...data: readonly string[]
  ): Promise<string[]> => {
    const parts = [{ type: 'text' as const, text: 'Look' }, ...data.map(picture)];
    const request = { messages: [{ role: 'user' as const, parts }], tools: [], outputTokensMax: 100 };
    const sent = server.requestCount();
    await callModel(deps, inputFor(chain, { request }).input);
    return server.requests.slice(sent).map(({ body }) => JSON.stringify(body));
  };

  test('is not sent to that model again for an hour, while others and other pictures are', async () => {
    const clock = instantClock();
    const deps = depsWith(clock);
    const broken = (body: unknown) => JSON.stringify(body).includes('QkFE');
    server.use(({ body }) => (broken(body) ? refusal('Could not process image') : { text: 'fine' }));
    expect(await ask(deps, [gpt], 'QkFE')).toHaveLength(2);
    const [round, ...more] = await ask(deps, [gpt], 'QkFE', 'T1RIRVI=');
    expect(more).toEqual([]);
    expect(round).not.toContain('QkFE');
    expect(round).toContain('T1RIRVI=');
    expect(round).toContain('could not be shown to you');
    await clock.sleep(3_600_001);
    expect(await ask(deps, [gpt], 'QkFE')).toHaveLength(2);
  });

  test('by a model that takes none costs one call, whatever pictures come after it', async () => {
    const clock = instantClock();
    const deps = depsWith(clock);
    server.use(({ body }) =>
      JSON.stringify(body).includes('image/png')
        ? refusal('This model does not support image input.')
        : { text: 'fine' },
    );
    expect(await ask(deps, [gpt], 'QQ==')).toHaveLength(2);
    const [round, ...more] = await ask(deps, [gpt], 'Qg==');
    expect(more).toEqual([]);
    expect(round).not.toContain('image/png');
    await clock.sleep(3_600_001);
    server.use([{ text: 'It has eyes now.' }]);
    expect((await ask(deps, [gpt], 'Qw=='))[0]).toContain('image/png');
  });

  test('is forgotten when the same was refused without it: it was not the picture', async () => {
    const deps = depsWith();
    server.use([refusal('Something about an image and more'), refusal('and more'), { text: 'fine' }]);
    await failing(ask(deps, [gpt], 'QkFE'));
    expect((await ask(deps, [gpt], 'QkFE')).join()).toContain('QkFE');
  });

  test('another refusal, or one without pictures, is what it was', async () => {
    server.use([refusal('unknown parameter: foo')]);
    await failing(callModel(depsWith(), inputFor([gpt], withPicture).input));
    expect(server.requestCount()).toBe(1);
    server.use([refusal('Could not process image')]);
    await failing(callModel(depsWith(), inputFor([gpt]).input));
    expect(server.requestCount()).toBe(1);
  });
});
