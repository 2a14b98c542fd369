import { expect, test } from 'vitest';
import { summarise, type TargetResult } from '#core/broadcast/broadcast.ts';
import { isEmptyReport } from '#core/broadcast/empty-report.ts';
import { isLastingTarget, parseTarget, targetName } from '#core/broadcast/target.ts';

test('a target is a person, a role, a room or thread, or a word', () => {
  expect(parseTarget(' @Anna Lee ')).toEqual({ kind: 'person', who: 'Anna Lee' });
  expect(parseTarget('person:0190')).toEqual({ kind: 'person', who: '0190' });
  expect(parseTarget('Owners')).toEqual({ kind: 'role', role: 'owner' });
  expect(parseTarget('rooms')).toEqual({ kind: 'rooms' });
  expect(parseTarget('telegram:-100123')).toMatchObject({ kind: 'room', room: '-100123', thread: undefined });
  expect(parseTarget('slack:C01:1712.0042')).toMatchObject({ channel: 'slack', room: 'C01', thread: '1712.0042' });
  expect(parseTarget('agent:coder')).toEqual({ kind: 'agent', name: 'coder' });
  expect(parseTarget('agents')).toEqual({ kind: 'agents' });
});

test('what names nobody is refused, whatever it looks like', () => {
  for (const text of [
    '',
    '@',
    'person:',
    'irc:room',
    'slack:',
    'slack:C1:',
    'agent:',
    'anna',
    'constructor',
    '__proto__',
    'toString',
  ]) {
    expect(() => parseTarget(text)).toThrow(expect.objectContaining({ code: 'target.invalid' }));
  }
});

test('a word that is forbidden stays forbidden in another spelling', () => {
  expect([' Rooms ', 'PEOPLE', 'oWners'].map(targetName)).toEqual(['rooms', 'people', 'owners']);
  expect(['@Rooms', 'slack:C01', 'constructor'].map(targetName)).toEqual(['@Rooms', 'slack:C01', 'constructor']);
});

test('settings take only targets that mean something by themselves', () => {
  expect(['@Anna', 'slack:C01', 'people'].every(isLastingTarget)).toBe(true);
  expect(['here', 'requester', 'anna', 'agents', 'agent:coder'].some(isLastingTarget)).toBe(false);
});

test('a sign of life is empty, and anything that says something is not', () => {
  for (const text of [
    '',
    '  \n',
    'ok',
    'OK.',
    '**ok**',
    'HEARTBEAT_OK',
    '`heartbeat_ok`',
    'Nothing to do.',
    'No updates',
  ]) {
    expect(isEmptyReport(text)).toBe(true);
  }
  for (const text of ['ok, but the disk is full', 'no', '0', 'not ok', '✅ deployed']) {
    expect(isEmptyReport(text)).toBe(false);
  }
});

test('results are summed up in a few words', () => {
  const result = (state: TargetResult['state']): TargetResult => ({
    target: 'x',
    threadKey: undefined,
    state,
    reason: undefined,
    deliveredAt: undefined,
  });
  expect(summarise([])).toBe('nobody to send it to');
  expect(summarise([result('failed'), result('delivered'), result('delivered')])).toBe('2 delivered, 1 failed');
});
