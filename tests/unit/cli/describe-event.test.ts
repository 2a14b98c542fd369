import { expect, test } from 'vitest';
import { describeEvent } from '#cli/describe-event.ts';
import { newId } from '#core/kit/ids.ts';

const describe = (kind: string, payload: unknown): string[] =>
  describeEvent({ seq: 1, turnId: newId(), kind, payload, createdAt: new Date(0) }, 'coder').map(
    ({ who, text }) => `${who}: ${text}`,
  );

test('what people and agents said is theirs, with the files and the calls', () => {
  const files = [{ name: 'a.txt', fetchKey: 'k' }];
  expect(describe('user_message', { sourceTurnId: newId(), text: 'Look.', author: 'Ada', files })).toEqual([
    'Ada: Look.\n[file a.txt]',
  ]);
  const parts = [
    { type: 'text', text: 'I look.' },
    { type: 'tool_call', id: 'c', name: 'exec', rawArguments: '{"command":"ls"}', parsed: { ok: true, arguments: {} } },
  ];
  const answer = { parts, model: 'demo', stop: 'tools', usage: {}, costMicros: '0' };
  expect(describe('assistant_message', answer)).toEqual(['coder: I look.', 'coder: calls exec {"command":"ls"}']);
});

test('a call, its end, a question, a notice and the end of a turn are one line each', () => {
  expect(describe('tool_started', { callId: 'c', name: 'exec' })).toEqual(['exec: runs']);
  expect(describe('tool_finished', { callId: 'c', name: 'exec', text: 'a\nb', isError: false })).toEqual([
    'exec: done\na\nb',
  ]);
  expect(describe('tool_finished', { callId: 'c', name: 'exec', text: '', isError: true })).toEqual(['exec: failed']);
  expect(describe('approval_requested', { callId: 'c', approvalId: 'id-1', summary: 'Run `rm`' })).toEqual([
    'approval: asked for as id-1: Run `rm`',
  ]);
  expect(describe('notice', { text: 'Shortened.' })).toEqual(['notice: Shortened.']);
  expect(describe('turn_ended', { state: 'done' })).toEqual(['turn: done']);
  expect(describe('turn_ended', { state: 'failed', reason: 'turn.loop' })).toEqual(['turn: failed: turn.loop']);
});

test('long output is cut, and says how much is left out', () => {
  const text = Array.from({ length: 50 }, (_, index) => `line ${index}`).join('\n');
  const [shown = ''] = describe('tool_finished', { callId: 'c', name: 'exec', text, isError: false });
  expect(shown.split('\n')).toHaveLength(22);
  expect(shown).toMatch(/line 19\n… 30 more lines$/);
});

test('no text can send an escape sequence to the terminal, nor a kind that is not known', () => {
  const evil = 'a\u001b[2J\u009b31m\u202eb\u001b]0;title\u0007c';
  const shown = [
    ...describe('user_message', { sourceTurnId: newId(), text: evil, author: evil }),
    ...describe('tool_finished', { callId: 'c', name: evil, text: evil, isError: true }),
    ...describe('from_the_future', { text: evil }),
    ...describe(evil, null),
  ].join('');
  expect(shown).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/);
});
