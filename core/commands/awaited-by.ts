import type { KnownEvent } from '../inbox/known-event.ts';
import type { Db } from '../kit/database.ts';
import type { Awaited } from '../questions/prompt.ts';
import { findAwaited } from '../questions/prompt-person.ts';
import { type Conversation, threadKey } from '../sessions/origin.ts';

/** What a message may be the answer to, by where it stands and what it replies to. */
export async function awaitedBy(db: Db, known: KnownEvent): Promise<Awaited | undefined> {
  const { event, person, thread, inboxId } = known;
  return await findAwaited(db, {
    inboxId,
    threadKey: thread.threadKey,
    personId: person.id,
    replyToId: event.replyToId,
    parent: parentOf(event.conversation),
    isAlone: event.conversation.kind === 'dm' || event.conversation.thread !== undefined,
    privateRoom: privateRoomOf(event.conversation, event.messageId),
  });
}

/** Where threads hang on a message, their id is that message's. */
function parentOf(conversation: Conversation): { readonly threadKey: string; readonly messageId: string } | undefined {
  const { thread, ...main } = conversation;
  return thread === undefined ? undefined : { threadKey: threadKey(main), messageId: thread };
}

/** Some platforms make every private message the root of a thread: what it answers then stands in another one. */
function privateRoomOf({ thread, ...main }: Conversation, messageId: string | undefined): string | undefined {
  const isRoot = thread !== undefined && thread === messageId;
  return isRoot && main.kind === 'dm' ? threadKey(main).replace(/-$/, '') : undefined;
}
