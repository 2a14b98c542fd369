import { describe, expect, test } from 'vitest';
import type { ModelEvent, ModelMessage, ModelRequest } from '#core/models/model-port.ts';
import { createDemoModel } from '#workers/models/demo-model.ts';

const tools = ['exec', 'memory_save', 'memory_search'].map((name) => ({ name, description: '', parameters: {} }));
const options = { signal: new AbortController().signal, headerMs: 30_000, idleMs: 30_000, totalMs: 30_000 };

function user(text: string): ModelMessage {
  return { role: 'user', parts: [{ type: 'text', text }] };
}

async function ask(messages: ModelMessage[], offered: ModelRequest['tools'] = tools) {
  const events: ModelEvent[] = [];
  const request = { model: 'demo', messages, tools: offered, outputTokensMax: 1000 };
  for await (const event of createDemoModel().stream(request, options)) events.push(event);
  const end = events.at(-1);
  if (end?.type !== 'end') throw new Error('no end');
  const call = end.message.parts.find((part) => part.type === 'tool_call');
  const text = end.message.parts.map((part) => (part.type === 'text' ? part.text : '')).join('');
  return { end, call, text, events };
}

describe('phrases become tool calls', () => {
  test.each([
    ['run ls -la', 'exec', { command: 'ls -la' }],
    ['Please run `uname -a`', 'exec', { command: 'uname -a' }],
    ['[Ann]\nrun date', 'exec', { command: 'date' }],
    ['run for i in 1 2; do\necho $i\ndone', 'exec', { command: 'for i in 1 2; do\necho $i\ndone' }],
    ['remember that the deploy day is Friday', 'memory_save', { text: 'the deploy day is Friday' }],
    ['what do you remember about deploys?', 'memory_search', { query: 'deploys' }],
  ])('%s', async (text, name, args) => {
    const { call, end } = await ask([user(text)]);
    expect(call).toMatchObject({ name, parsed: { ok: true, arguments: args } });
    expect(end.stop).toBe('tools');
  });

  test('a tool the agent does not have is said to be missing', async () => {
    expect((await ask([user('run ls')], [])).text).toContain('does not have the tool `exec`');
  });
});

describe('results become sentences', () => {
  async function answerAfter(command: string, result: string, isError = false) {
    const { end, call } = await ask([user(command)]);
    if (call === undefined) throw new Error('no call');
    const parts = [{ type: 'tool_result', callId: call.id, text: result, isError } as const];
    return (await ask([user(command), end.message, { role: 'tool', parts }])).text;
  }

  test('output is quoted in a fence that the output cannot close', async () => {
    expect(await answerAfter('run ls', 'a\n```\nb')).toBe('I ran `ls`. It printed:\n````\na\n```\nb\n````');
  });

  test('a denied command is told as not done', async () => {
    expect(await answerAfter('run rm -r /', 'The approval was denied by Ann.', true)).toBe(
      'I did not do it: The approval was denied by Ann.',
    );
  });

  test('how a command ended is told in the sentence, well or not', async () => {
    expect(await answerAfter('run false', 'Exit code 1 after 0.1 s.\n(no output)', true)).toBe(
      'I ran `false`. Exit code 1 after 0.1 s.\n```\n(no output)\n```',
    );
  });

  test('a search without a find says so', async () => {
    expect(await answerAfter('what do you remember about tea', 'Nothing is remembered about that.')).toBe(
      'I remember nothing about tea.',
    );
  });

  test('a saved fact is repeated', async () => {
    expect(await answerAfter('remember tea is at five', 'saved')).toBe('I will remember that tea is at five');
  });
});

test('anything else gets a short help that says it is a demo and how to get a real model', async () => {
  const { text, events, end } = await ask([user('Hello!')]);
  expect(text).toMatch(/demo model/);
  expect(text).toMatch(/OPENAI_API_KEY or ANTHROPIC_API_KEY/);
  expect(events.filter((event) => event.type === 'text').length).toBeGreaterThan(2);
  expect(end.usage).toMatchObject({ source: 'estimated', input: expect.any(Number) });
});

test('the same question gets the same answer', async () => {
  expect((await ask([user('hi')])).text).toBe((await ask([user('hi')])).text);
});
