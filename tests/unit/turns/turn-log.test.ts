import { expect, test } from 'vitest';
import type { TurnEvent } from '#core/turns/turn-event.ts';
import { TurnLog } from '#workers/turn/turn-log.ts';

const turnId = 'turn';

function answer(...ids: readonly string[]): TurnEvent {
  return {
    kind: 'assistant_message',
    parts: ids.map((id) => ({
      type: 'tool_call',
      id,
      name: 'exec',
      rawArguments: '{}',
      parsed: { ok: true, arguments: {} },
    })),
    model: 'm',
    stop: 'tools',
    usage: {},
    costMicros: '0',
  };
}

function result(callId: string): TurnEvent {
  return { kind: 'tool_finished', callId, name: 'exec', text: 'ok', isError: false };
}

function logOf(...events: readonly TurnEvent[]): TurnLog {
  return new TurnLog(
    turnId,
    events.map((event, index) => ({ seq: index + 1, turnId, event })),
  );
}

test('a call that waited for an approval is open, not closed, so that it does not count as its own repetition', () => {
  const log = logOf(answer('a'));
  expect(log.openCalls().map((call) => call.id)).toEqual(['a']);
  expect(log.closedCalls()).toEqual([]);
});

test('a call id used again in a later answer is open there and closed in the earlier one', () => {
  const log = logOf(answer('x'), result('x'), answer('x', 'y'), result('y'));
  expect(log.openCalls().map((call) => call.id)).toEqual(['x']);
  expect(log.closedCalls().map((call) => call.id)).toEqual(['x', 'y']);
  expect(log.callKey('x')).toBe('2:x');
});

test('a start counts only for the answer it belongs to', () => {
  const started: TurnEvent = { kind: 'tool_started', callId: 'x', name: 'exec' };
  expect(logOf(answer('x'), started).wasStarted('x')).toBe(true);
  expect(logOf(answer('x'), started, result('x'), answer('x')).wasStarted('x')).toBe(false);
});

test('a message is recorded under the turn it was accepted as, once', () => {
  const log = logOf({ kind: 'user_message', sourceTurnId: 'steered', text: 'hi', author: 'Ann' });
  expect(log.hasMessageOf('steered')).toBe(true);
  expect(log.hasMessageOf(turnId)).toBe(false);
});

test('unsaved events are handed out once, and events of other turns are history', () => {
  const log = new TurnLog(turnId, [{ seq: 1, turnId: 'before', event: answer('old') }]);
  log.add(answer('new'));
  expect(log.openCalls().map((call) => call.id)).toEqual(['new']);
  expect(log.takeUnsaved()).toHaveLength(1);
  expect(log.takeUnsaved()).toEqual([]);
});
