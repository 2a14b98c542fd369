import { EventEmitter } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ModelServer, startModelServer } from '#tests/fakes/model-server.ts';
import { answerRecords } from '#tests/fakes/model-wires.ts';
import { eventually } from '#tests/support/eventually.ts';
import {
  allWires,
  callOptions,
  callsOf,
  collect,
  failureOf,
  portFor,
  raw,
  refOf,
  requestFor,
  textOfMessage,
  user,
} from './model-fixture.ts';

let server: ModelServer;
beforeAll(async () => {
  server = await startModelServer({ script: [{ text: 'ok' }] });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const usage = { input: 120, output: 30, cacheRead: 40 };

describe.each(allWires)('%s', (wire) => {
  test('a text answer streams in pieces and ends with the whole message and the figures', async () => {
    server.use([{ text: 'Hello, wörld 🌍!', usage }]);
    const port = await portFor(server, wire);
    const { events, end } = await collect(port.stream(requestFor(wire), callOptions()));
    expect(events.filter((event) => event.type === 'text').length).toBeGreaterThan(1);
    expect(textOfMessage(end.message)).toBe('Hello, wörld 🌍!');
    expect(end.stop).toBe('stop');
    expect(end.usage).toMatchObject({ input: 120, cacheRead: 40, output: 30, source: 'provider' });
    expect(end.requestId).toBe('req_1');
  });

  test('parallel tool calls arrive whole, with strictly parsed arguments', async () => {
    server.use([
      {
        toolCalls: [
          { name: 'exec', arguments: { command: 'ls -la' } },
          { name: 'exec', arguments: '' },
        ],
      },
    ]);
    const port = await portFor(server, wire);
    const { events, end } = await collect(port.stream(requestFor(wire), callOptions()));
    expect(end.stop).toBe('tools');
    expect(events.filter((event) => event.type === 'tool_call_started')).toHaveLength(2);
    expect(callsOf(end.message).map((call) => call.parsed)).toEqual([
      { ok: true, arguments: { command: 'ls -la' } },
      { ok: true, arguments: {} },
    ]);
  });

  test('arguments that are not JSON are marked, never repaired', async () => {
    server.use([{ toolCalls: [{ name: 'exec', arguments: '{"command": ls' }] }]);
    const port = await portFor(server, wire);
    const { end } = await collect(port.stream(requestFor(wire), callOptions()));
    expect(callsOf(end.message)[0]).toMatchObject({
      rawArguments: '{"command": ls',
      parsed: { ok: false, why: 'invalid_json' },
    });
  });

  test('a call in an answer that hit its limit is never usable, even if its arguments parse', async () => {
    const stop = {
      'openai.chat': 'length',
      'openai.responses': 'max_output_tokens',
      'anthropic.messages': 'max_tokens',
    };
    server.use([{ toolCalls: [{ name: 'exec', arguments: { command: 'rm -r' } }], stop: stop[wire] }]);
    const port = await portFor(server, wire);
    const { end } = await collect(port.stream(requestFor(wire), callOptions()));
    expect(end.stop).toBe('length');
    expect(callsOf(end.message)[0]?.parsed).toEqual({ ok: false, why: 'truncated' });
  });

  test('a stream that ends in the middle of the text is an error that keeps the partial text', async () => {
    server.use([{ fault: 'eof' }]);
    const port = await portFor(server, wire);
    const error = await failureOf(port.stream(requestFor(wire), callOptions()));
    expect(error).toMatchObject({ kind: 'protocol', emitted: true });
    expect('Half an answer'.startsWith(error.partialText)).toBe(true);
    expect(error.partialText).not.toBe('');
    expect(error.usage).toMatchObject({ source: 'estimated' });
  });

  test('a stream without its last record is judged by the terminal event alone', async () => {
    const records = answerRecords(wire, { text: 'whole' }, 'm', usage);
    server.use([raw(...records.slice(0, -1))]);
    const port = await portFor(server, wire);
    const stream = port.stream(requestFor(wire), callOptions());
    // On the chat wire the last record is [DONE], which is no proof of anything; on the others it is the terminal event.
    if (wire === 'openai.chat') expect(textOfMessage((await collect(stream)).end.message)).toBe('whole');
    else expect(await failureOf(stream)).toMatchObject({ kind: 'protocol', code: 'stream_unfinished' });
  });

  test('a reset connection is a transient error', async () => {
    server.use([{ fault: 'reset' }]);
    const port = await portFor(server, wire);
    expect(await failureOf(port.stream(requestFor(wire), callOptions()))).toMatchObject({
      kind: 'transient',
      emitted: true,
    });
  });

  test('a record cut in the middle of its JSON is an error', async () => {
    const records = answerRecords(wire, { text: 'A whole answer' }, 'm', usage).slice(0, -4);
    server.use([raw(records.join('').slice(0, -20))]);
    const port = await portFor(server, wire);
    expect((await failureOf(port.stream(requestFor(wire), callOptions()))).kind).toBe('protocol');
  });

  test('an event that is not JSON is a protocol error', async () => {
    server.use([raw('event: message_start\ndata: {"type": nonsense}\n\n')]);
    const port = await portFor(server, wire);
    expect(await failureOf(port.stream(requestFor(wire), callOptions()))).toMatchObject({
      kind: 'protocol',
      code: 'event_invalid',
      emitted: false,
    });
  });

  test('an empty 200 is an error, never an empty answer', async () => {
    server.use([{ fault: 'empty' }]);
    const port = await portFor(server, wire);
    expect(await failureOf(port.stream(requestFor(wire), callOptions()))).toMatchObject({
      kind: 'protocol',
      code: 'stream_empty',
    });
  });

  test('an HTML page with status 200 is an error', async () => {
    server.use([{ fault: 'html' }]);
    const port = await portFor(server, wire);
    expect(await failureOf(port.stream(requestFor(wire), callOptions()))).toMatchObject({
      kind: 'protocol',
      code: 'content_type',
    });
  });

  test('a JSON error with status 200 is classified by what it says', async () => {
    const headers = { 'content-type': 'application/json' };
    const body = JSON.stringify({ error: { type: 'rate_limit_error', message: 'Slow down' } });
    server.use([{ raw: { headers, steps: [body] } }]);
    const port = await portFor(server, wire);
    expect(await failureOf(port.stream(requestFor(wire), callOptions()))).toMatchObject({ kind: 'rate' });
  });

  test('an HTML 502 is transient, and its text is cut to the title without keys', async () => {
    const page = `<html><head><title>Bad gateway sk-live-abcdef0123456789</title></head>${'x'.repeat(5000)}</html>`;
    server.use([{ raw: { status: 502, headers: { 'content-type': 'text/html' }, steps: [page] } }]);
    const port = await portFor(server, wire);
    const error = await failureOf(port.stream(requestFor(wire), callOptions()));
    expect(error).toMatchObject({ kind: 'transient', status: 502 });
    expect(error.message).toContain('Bad gateway');
    expect(error.message).not.toContain('abcdef0123456789');
    expect(error.message.length).toBeLessThan(200);
  });

  test('an error event in the middle of the stream is classified although it has no status', async () => {
    const records = answerRecords(wire, { text: 'whole' }, 'm', usage).slice(0, 3);
    const error = { type: 'overloaded_error', message: 'Overloaded' };
    const record = wire === 'anthropic.messages' ? { type: 'error', error } : { error };
    server.use([raw(...records, `event: error\ndata: ${JSON.stringify(record)}\n\n`)]);
    const port = await portFor(server, wire);
    expect((await failureOf(port.stream(requestFor(wire), callOptions()))).kind).toBe('overloaded');
  });

  test('a stall ends at the idle limit and closes the socket', async () => {
    server.use([{ fault: 'stall' }]);
    const port = await portFor(server, wire);
    const error = await failureOf(port.stream(requestFor(wire), callOptions({ idleMs: 1_000 })));
    expect(error).toMatchObject({ kind: 'timeout', code: 'idle', emitted: true });
    await server.requests[0]?.closed;
  });

  test.each([200, 500])(
    'a body with status %i that is no stream and never ends does not hang the call',
    async (status) => {
      server.use([
        { raw: { status, headers: { 'content-type': 'application/json' }, steps: ['{"error"'], end: 'hang' } },
      ]);
      const port = await portFor(server, wire);
      const error = await failureOf(port.stream(requestFor(wire), callOptions({ idleMs: 100 })));
      expect(error).toMatchObject({ kind: 'timeout', code: 'idle', emitted: false });
      await server.requests[0]?.closed;
    },
  );

  test('a server that sends no headers ends at the header limit', async () => {
    server.use([{ fault: 'no_headers' }]);
    const port = await portFor(server, wire);
    const error = await failureOf(port.stream(requestFor(wire), callOptions({ headerMs: 150 })));
    expect(error).toMatchObject({ kind: 'timeout', code: 'header', emitted: false, usage: undefined });
    await server.requests[0]?.closed;
  });

  test('an answer that drips byte by byte, through multi-byte characters, arrives unchanged', async () => {
    const bytes = Buffer.from(answerRecords(wire, { text: 'Grüße 日本 🌍' }, 'm', usage).join(''));
    server.use([raw(...Array.from(bytes, (byte) => Uint8Array.of(byte)))]);
    const port = await portFor(server, wire);
    const { end } = await collect(port.stream(requestFor(wire), callOptions()));
    expect(textOfMessage(end.message)).toBe('Grüße 日本 🌍');
  });

  test('keep-alive comments hold off the idle limit but not the limit of the whole call', async () => {
    // For longer than the limit of the whole call, which has room for a busy machine that is silent for a while.
    const steps = Array.from({ length: 200 }, () => [': keep-alive\n\n', { waitMs: 20 }]).flat();
    server.use([raw(...steps)]);
    const port = await portFor(server, wire);
    const error = await failureOf(port.stream(requestFor(wire), callOptions({ idleMs: 1_500, totalMs: 2_500 })));
    expect(error).toMatchObject({ kind: 'timeout', code: 'total' });
  });

  test.each(['before', 'waiting', 'speaking'])(
    'an abort while %s ends as aborted and closes the socket',
    async (when) => {
      server.use([{ fault: when === 'speaking' ? 'stall' : 'no_headers' }]);
      const port = await portFor(server, wire);
      const controller = new AbortController();
      if (when === 'before') controller.abort();
      const stream = port.stream(requestFor(wire), callOptions({ signal: controller.signal }));
      if (when === 'speaking') {
        const iterator = stream[Symbol.asyncIterator]();
        await iterator.next();
        controller.abort();
        await expect(
          (async () => {
            while ((await iterator.next()).done !== true);
          })(),
        ).rejects.toMatchObject({ kind: 'aborted', emitted: true });
      } else {
        const failed = failureOf(stream);
        if (when === 'waiting') {
          await eventually(() => expect(server.requestCount()).toBe(1));
          controller.abort();
        }
        expect(await failed).toMatchObject({ kind: 'aborted', emitted: false });
      }
      expect(server.requestCount()).toBe(when === 'before' ? 0 : 1);
      await server.requests[0]?.closed;
    },
  );

  test('a consumer that stops reading closes the socket', async () => {
    server.use([{ fault: 'stall' }]);
    const port = await portFor(server, wire);
    for await (const event of port.stream(requestFor(wire), callOptions())) if (event.type === 'text') break;
    await server.requests[0]?.closed;
  });

  test('calls one after the other share a connection', async () => {
    server.use([{ text: 'one' }]);
    const port = await portFor(server, wire);
    await collect(port.stream(requestFor(wire), callOptions()));
    const before = server.connectionCount();
    for (let call = 0; call < 10; call += 1) await collect(port.stream(requestFor(wire), callOptions()));
    expect(server.connectionCount() - before).toBeLessThanOrEqual(1);
  });

  test('a body that ends a moment after the answer still gives its connection back', async () => {
    server.use([raw(...answerRecords(wire, { text: 'whole' }, 'm', usage), { waitMs: 2 })]);
    const port = await portFor(server, wire);
    const before = server.connectionCount();
    for (let call = 0; call < 20; call += 1) await collect(port.stream(requestFor(wire), callOptions()));
    expect(server.connectionCount() - before).toBeLessThanOrEqual(8);
  });

  test('a server that never ends the body after the terminal event does not hold the answer back', async () => {
    const records = answerRecords(wire, { text: 'whole' }, 'm', usage);
    server.use([{ raw: { steps: records, end: 'hang' } }]);
    const port = await portFor(server, wire);
    const { end } = await collect(port.stream(requestFor(wire), callOptions({ idleMs: 600_000, totalMs: 600_000 })));
    expect(end.usage).toMatchObject({ input: 120, source: 'provider' });
    await server.requests[0]?.closed;
  });

  test('an endless line is cut off', async () => {
    server.use([{ raw: { steps: Array.from({ length: 40 }, () => 'x'.repeat(64 * 1024)), end: 'hang' } }]);
    const port = await portFor(server, wire);
    expect(await failureOf(port.stream(requestFor(wire), callOptions()))).toMatchObject({ code: 'answer_too_large' });
  });

  test('an answer of more than 2 MB is refused', async () => {
    server.use([{ text: 'a'.repeat(3 * 1024 * 1024) }]);
    const port = await portFor(server, wire);
    expect(await failureOf(port.stream(requestFor(wire), callOptions()))).toMatchObject({ code: 'answer_too_large' });
  });

  test.each([
    ['auth', 'auth'],
    ['billing', 'billing'],
    ['context', 'context'],
    ['rate_limited', 'rate'],
    ['overloaded', 'overloaded'],
    ['server_error', 'transient'],
  ] as const)('the fault %s is classified as %s after exactly one request', async (fault, kind) => {
    server.use([{ fault, retryAfter: '1' }]);
    const port = await portFor(server, wire);
    const error = await failureOf(port.stream(requestFor(wire), callOptions()));
    expect(error).toMatchObject({ kind, emitted: false, retryAfterMs: 1000 });
    expect(server.requestCount()).toBe(1);
  });

  test('no request carries a temperature, and the key goes only where the vendor reads it', async () => {
    server.use([{ text: 'ok' }]);
    const port = await portFor(server, wire);
    await collect(port.stream(requestFor(wire, { effort: 'high' }), callOptions()));
    const [request] = server.requests;
    expect(Object.keys(request?.body ?? {})).not.toEqual(expect.arrayContaining(['temperature']));
    if (wire === 'anthropic.messages') expect(request?.headers['x-api-key']).toBe('sk-ant-0123456789abcdef');
    else expect(request?.headers['authorization']).toBe('Bearer sk-test-0123456789abcdef');
  });

  test('listeners on a long-lived signal do not pile up', async () => {
    server.use([{ text: 'ok' }]);
    const port = await portFor(server, wire);
    const { signal } = new AbortController();
    for (let call = 0; call < 30; call += 1) await collect(port.stream(requestFor(wire), callOptions({ signal })));
    expect(EventEmitter.getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  test('a second turn sends the history back in the order and shape the vendor wants', async () => {
    server.use([
      {
        text: 'Let me look.',
        reasoning: 'thinking…',
        toolCalls: [{ id: 'call_a', name: 'exec', arguments: { command: 'ls' } }],
      },
      { text: 'Done.' },
    ]);
    const port = await portFor(server, wire);
    const first = await collect(port.stream(requestFor(wire), callOptions()));
    const messages = [
      ...requestFor(wire).messages,
      first.end.message,
      { role: 'tool', parts: [{ type: 'tool_result', callId: 'call_a', text: 'a.txt', isError: false }] } as const,
      user('and now?'),
    ];
    await collect(port.stream(requestFor(wire, { messages }), callOptions()));
    expect(server.requests[1]?.body).toMatchSnapshot();
    expect(first.end.message.native?.model ?? refOf(wire).text).toBe(refOf(wire).text);
  });
});
