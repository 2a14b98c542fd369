import { AppError } from '../kit/errors.ts';

/** Whom or what a message is for, as people and settings write it. */
export type Target =
  /** `person:<id>`, `@name`. */
  | { readonly kind: 'person'; readonly who: string }
  /** `owners`, `admins` (owners count), `people`. */
  | { readonly kind: 'role'; readonly role: 'owner' | 'admin' | 'member' }
  /** `rooms`: every room of several people the bot is in. */
  | { readonly kind: 'rooms' }
  /** `slack:C0123`, `telegram:-100123:7`: a room and, where there is one, a thread of it. */
  | { readonly kind: 'room'; readonly channel: string; readonly room: string; readonly thread: string | undefined }
  /** `here`: where the work that says it is. */
  | { readonly kind: 'here' }
  /** `requester`: whoever the work is for. */
  | { readonly kind: 'requester' }
  /** `agent:coder`, in the thread it is written to from. */
  | { readonly kind: 'agent'; readonly name: string }
  /** `agents`: all of them but the one that writes. */
  | { readonly kind: 'agents' };

const words: Readonly<Record<string, Target>> = {
  rooms: { kind: 'rooms' },
  people: { kind: 'role', role: 'member' },
  owners: { kind: 'role', role: 'owner' },
  admins: { kind: 'role', role: 'admin' },
  here: { kind: 'here' },
  requester: { kind: 'requester' },
  agents: { kind: 'agents' },
};

const channels = new Set(['telegram', 'slack', 'discord', 'web', 'console', 'file']);

/** @throws AppError `target.invalid` for a text that names nobody. */
export function parseTarget(text: string): Target {
  const target = readTarget(text);
  if (target !== undefined) return target;
  throw new AppError('target.invalid', `"${text.slice(0, 80)}" is nobody I could write to.`, {
    mend: 'Write @name, person:<id>, channel:room[:thread], rooms, people, owners, admins, agent:<name> or agents.',
  });
}

/** The target a text names; undefined when it names none. */
function readTarget(text: string): Target | undefined {
  const plain = text.trim();
  const word = Object.hasOwn(words, plain.toLowerCase()) ? words[plain.toLowerCase()] : undefined;
  if (word !== undefined) return word;
  if (/^@\S/.test(plain)) return { kind: 'person', who: plain.slice(1) };
  const [head = '', room, ...rest] = plain.split(':');
  if (head === 'person' && room !== undefined && room !== '') return { kind: 'person', who: plain.slice(7) };
  if (head === 'agent' && room !== undefined && room !== '') return { kind: 'agent', name: plain.slice(6) };
  if (!channels.has(head) || room === undefined || room === '' || rest.some((piece) => piece === '')) return undefined;
  return { kind: 'room', channel: head, room, thread: rest.length === 0 ? undefined : rest.join(':') };
}

/** A target the way grants name it: `Rooms` must not get by where `rooms` is forbidden. */
export function targetName(text: string): string {
  const plain = text.trim();
  return Object.hasOwn(words, plain.toLowerCase()) ? plain.toLowerCase() : plain;
}

/** Whether a text names agents, who are written to by a turn and not by a message. */
export function isAgentTarget(text: string): boolean {
  const kind = readTarget(text)?.kind;
  return kind === 'agent' || kind === 'agents';
}

/** Words that mean something only in a thread, or to an agent at work. */
const fleeting = new Set<Target['kind']>(['here', 'requester', 'agent', 'agents']);

/** Whether a text names somebody by itself, as settings must. */
export function isLastingTarget(text: string): boolean {
  const target = readTarget(text);
  return target !== undefined && !fleeting.has(target.kind);
}
