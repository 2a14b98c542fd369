import { expect, test } from 'vitest';
import type { Actor } from '#core/inbox/inbound.ts';
import {
  admissionOf,
  type ChannelAccess,
  closedAccess,
  isStillAdmitted,
  modeOf,
  needsMention,
} from '#core/people/access.ts';

const access: ChannelAccess = {
  ...closedAccess,
  people: ['p1'],
  roles: ['r1'],
  rooms: ['c1'],
  roomSettings: { c2: { mode: 'open', mention: 'optional' }, c3: { mode: 'closed', mention: 'required' } },
};
const actor: Actor = { externalId: 'x', displayName: 'X', isBot: false, isAnonymous: false };
const room = (id: string) => ({ room: id, kind: 'channel' as const });

test('without settings nobody is let in and groups want a mention', () => {
  expect(admissionOf(closedAccess, actor, room('c1'))).toBeUndefined();
  expect(needsMention(closedAccess, 'c1')).toBe(true);
});

test('the entry that lets somebody in is named, people before roles before rooms', () => {
  expect(admissionOf(access, { ...actor, externalId: 'p1', roles: ['r1'] }, room('c1'))).toBe('people p1');
  expect(admissionOf(access, { ...actor, roles: ['r0', 'r1'] }, room('c1'))).toBe('roles r1');
  expect(admissionOf(access, actor, room('c1'))).toBe('rooms c1');
  expect(admissionOf(access, actor, room('c2'))).toBe('rooms c2');
  expect(admissionOf({ ...access, modes: { ...access.modes, dm: 'open' } }, actor, { room: 'd', kind: 'dm' })).toBe(
    'dm open',
  );
});

test('no list lets in bots, the nameless or outsiders', () => {
  for (const who of [{ isBot: true }, { isAnonymous: true }, { isExternal: true }]) {
    expect(admissionOf(access, { ...actor, externalId: 'p1', ...who }, room('c1'))).toBeUndefined();
  }
});

test('what a single room says goes before the list of rooms and its kind, and inherited names are not settings', () => {
  expect(modeOf({ ...access, rooms: ['c3'] }, room('c3'))).toBe('closed');
  expect(modeOf(access, room('constructor'))).toBe('paired');
  expect(needsMention(access, 'c2')).toBe(false);
  expect(needsMention(access, '__proto__')).toBe(true);
});

test('an admission lasts as long as its entry, and a role as long as it is held where that can be seen', () => {
  expect(isStillAdmitted(access, actor, 'people p1')).toBe(true);
  expect(isStillAdmitted(closedAccess, actor, 'people p1')).toBe(false);
  expect(isStillAdmitted(access, actor, 'roles r1')).toBe(true);
  expect(isStillAdmitted(access, { ...actor, roles: [] }, 'roles r1')).toBe(false);
  expect(isStillAdmitted(access, actor, 'rooms c2')).toBe(true);
  expect(isStillAdmitted(access, actor, 'channel open')).toBe(false);
  expect(isStillAdmitted(access, actor, 'nonsense')).toBe(false);
});
