import type { Db, Tx } from '../kit/database.ts';
import { AppError, isAppError } from '../kit/errors.ts';
import { findPeopleOf } from '../people/find-reach.ts';
import { type Conversation, threadKey } from '../sessions/origin.ts';
import { type AgentContext, findAgents } from './find-agents.ts';
import { findPerson } from './find-person.ts';
import { findPrivatePlaces } from './find-private-places.ts';
import { parseTarget, type Target } from './target.ts';
import { selectAccounts, selectKnownRoom, selectOpenRooms, selectRoomHindrance } from './target-store.ts';

/** Most rooms a word such as `rooms` may stand for. */
const roomsMax = 500;

/** A place a message goes to, and the words it was named by. */
export interface Place {
  readonly target: string;
  readonly conversation: Conversation;
  /** Platform id of the person it is for, so that they may be pinged. */
  readonly mention: string | undefined;
}

/** An agent a message goes to. */
export interface AddressedAgent {
  readonly target: string;
  readonly name: string;
  readonly version: string;
}

/** Where a list of targets leads; what leads nowhere says why and stops nobody else. */
export interface ResolvedTargets {
  readonly places: readonly Place[];
  readonly agents: readonly AddressedAgent[];
  readonly problems: readonly { readonly target: string; readonly reason: string }[];
}

/** The work that names a target, for `here` and `requester`. */
export interface TargetContext {
  readonly conversation: Conversation;
  readonly requesterId: string | undefined;
}

/** Finds the places and agents of targets. The same one is returned once, under the first name it was given. */
export async function resolveTargets(
  db: Db | Tx,
  targets: readonly string[],
  context?: TargetContext,
  agentContext?: AgentContext,
): Promise<ResolvedTargets> {
  const places = new Map<string, Place>();
  const agents = new Map<string, AddressedAgent>();
  const problems: { target: string; reason: string }[] = [];
  for (const target of targets) {
    try {
      const parsed = parseTarget(target);
      if (parsed.kind === 'agent' || parsed.kind === 'agents') {
        for (const { name, version } of await findAgents(db, parsed, agentContext)) {
          if (!agents.has(name)) agents.set(name, { target: `agent:${name}`, name, version });
        }
        continue;
      }
      for (const found of await placesOf(db, target, parsed, context)) {
        if ('reason' in found) problems.push(found);
        else {
          const key = threadKey(found.conversation);
          if (!places.has(key)) places.set(key, found);
        }
      }
    } catch (err) {
      if (!isAppError(err) || !err.isForChat) throw err;
      problems.push({ target, reason: err.message });
    }
  }
  return { places: [...places.values()], agents: [...agents.values()], problems };
}

type Found = Place | { readonly target: string; readonly reason: string };

async function placesOf(
  db: Db | Tx,
  name: string,
  target: Exclude<Target, { kind: 'agent' | 'agents' }>,
  context: TargetContext | undefined,
): Promise<Found[]> {
  switch (target.kind) {
    case 'person': {
      const person = await findPerson(db, target.who);
      return await placesOfPerson(db, name, person.id);
    }
    case 'role': {
      const roles = { owner: ['owner'], admin: ['owner', 'admin'], member: ['owner', 'admin', 'member'] } as const;
      const people = await findPeopleOf(db, roles[target.role]);
      return (await Promise.all(people.map(async (id) => await placesOfPerson(db, name, id)))).flat();
    }
    case 'rooms':
      return (await selectOpenRooms(db, roomsMax)).map((conversation) => ({
        target: `${conversation.channel}:${conversation.room}`,
        conversation,
        mention: undefined,
      }));
    case 'room':
      return [{ target: name, conversation: await conversationOf(db, target), mention: undefined }];
    case 'here':
      return [{ target: name, conversation: workOf(context, name).conversation, mention: undefined }];
    case 'requester': {
      const { requesterId, conversation } = workOf(context, name);
      if (requesterId === undefined) return [{ target: name, conversation, mention: undefined }];
      return await placesOfPerson(db, name, requesterId);
    }
  }
}

async function placesOfPerson(db: Db | Tx, target: string, personId: string): Promise<Found[]> {
  const reaches = await findPrivatePlaces(db, personId);
  if (reaches.length === 0) return [{ target, reason: 'They have not written to me in private yet.' }];
  return reaches.map(({ conversation, externalId }) => ({ target, conversation, mention: externalId }));
}

async function conversationOf(db: Db | Tx, target: Extract<Target, { kind: 'room' }>): Promise<Conversation> {
  const { channel, room, thread } = target;
  const known = await selectKnownRoom(db, { channel, room });
  const place = known ?? { channel, account: await onlyAccount(db, channel), room, kind: 'channel' as const };
  const hindrance = await selectRoomHindrance(db, place);
  if (hindrance !== undefined) {
    throw new AppError('target.invalid', `The room ${channel}:${room} is closed to me (${hindrance}).`);
  }
  const { thread: _, ...main } = { thread: undefined, ...place };
  return thread === undefined ? main : { ...main, thread };
}

async function onlyAccount(db: Db | Tx, channel: string): Promise<string> {
  const [account, ...others] = await selectAccounts(db, channel);
  if (account !== undefined && others.length === 0) return account;
  throw new AppError(
    'target.invalid',
    account === undefined
      ? `I am not on ${channel}.`
      : `I have several accounts on ${channel} and was never spoken to in that room.`,
    { mend: 'Write to me there once.' },
  );
}

function workOf(context: TargetContext | undefined, name: string): TargetContext {
  if (context !== undefined) return context;
  throw new AppError('target.invalid', `"${name}" means something only to an agent at work.`);
}
