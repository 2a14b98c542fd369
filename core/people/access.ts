import type { Actor } from '../inbox/inbound.ts';
import type { Conversation } from '../sessions/origin.ts';

/** Who may use a kind of room: everybody in it, people who are paired, or nobody. */
export type RoomMode = 'open' | 'paired' | 'closed';

/** Who a channel works for, as `switchyard.yaml` says. Whoever no entry names is a stranger. */
export interface ChannelAccess {
  /** Our own accounts that are served (the two numbers in a Slack bot token, joined by a dash); undefined serves every one. */
  readonly accounts: readonly string[] | undefined;
  /** Platform ids of people. */
  readonly people: readonly string[];
  /** Ids of Discord roles or Slack user groups. */
  readonly roles: readonly string[];
  /** Rooms whose members may all use them. */
  readonly rooms: readonly string[];
  readonly modes: Readonly<Record<Conversation['kind'], RoomMode>>;
  /** What differs in single rooms. */
  readonly roomSettings: Readonly<
    Record<string, { readonly mode?: RoomMode | undefined; readonly mention: 'required' | 'optional' }>
  >;
  /** Whether a stranger's first message is shown to the owners, who can let them in. */
  readonly asksOwners: boolean;
}

/** Nobody but the paired, and in groups only when spoken to: what holds without any settings. */
export const closedAccess: ChannelAccess = {
  accounts: undefined,
  people: [],
  roles: [],
  rooms: [],
  modes: { dm: 'paired', group: 'paired', channel: 'paired' },
  roomSettings: {},
  asksOwners: false,
};

/** Who may use a room: its own setting, else the list of rooms, else what holds for its kind. */
export function modeOf(access: ChannelAccess, conversation: Pick<Conversation, 'room' | 'kind'>): RoomMode {
  const own = settingOf(access, conversation.room)?.mode;
  if (own !== undefined) return own;
  return access.rooms.includes(conversation.room) ? 'open' : access.modes[conversation.kind];
}

/** Whether the bot answers in a room only when it is addressed. */
export function needsMention(access: ChannelAccess, room: string): boolean {
  return settingOf(access, room)?.mention !== 'optional';
}

/**
 * The entry that lets somebody in, such as `people U123`; undefined when none does. Bots, anonymous authors and accounts
 * of other workspaces are never let in by a list: nobody can say who they are.
 */
export function admissionOf(
  access: ChannelAccess,
  actor: Actor,
  conversation: Pick<Conversation, 'room' | 'kind'>,
): string | undefined {
  if (actor.isBot || actor.isAnonymous || actor.isExternal === true) return undefined;
  if (access.people.includes(actor.externalId)) return `people ${actor.externalId}`;
  const role = actor.roles?.find((id) => access.roles.includes(id));
  if (role !== undefined) return `roles ${role}`;
  if (modeOf(access, conversation) !== 'open') return undefined;
  const isListed = access.rooms.includes(conversation.room) || settingOf(access, conversation.room)?.mode === 'open';
  return isListed ? `rooms ${conversation.room}` : `${conversation.kind} open`;
}

/**
 * Whether an entry still lets in whom it let in: a line that was taken out of the file takes their admission with it, and
 * so does a role that somebody lost, where the platform shows roles.
 */
export function isStillAdmitted(access: ChannelAccess, actor: Pick<Actor, 'roles'>, admittedBy: string): boolean {
  const [list = '', id = ''] = admittedBy.split(' ');
  switch (list) {
    case 'people':
      return access.people.includes(id);
    case 'roles':
      return access.roles.includes(id) && (actor.roles === undefined || actor.roles.includes(id));
    case 'rooms':
      return access.rooms.includes(id) || settingOf(access, id)?.mode === 'open';
    case 'dm':
    case 'group':
    case 'channel':
      return access.modes[list] === 'open';
    default:
      return false;
  }
}

/** The entry of an account that was joined to one which a list let in. */
export function linkedAdmission(identityId: string): string {
  return `link ${identityId}`;
}

/** Our id of the account on which such an entry rests; undefined for an entry of a list. */
export function linkedTo(admittedBy: string): string | undefined {
  return /^link (\S+)$/.exec(admittedBy)?.[1];
}

function settingOf(access: ChannelAccess, room: string): ChannelAccess['roomSettings'][string] | undefined {
  return Object.hasOwn(access.roomSettings, room) ? access.roomSettings[room] : undefined;
}
