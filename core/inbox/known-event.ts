import type { Identity, Person } from '../people/person.ts';
import type { Origin } from '../sessions/origin.ts';
import type { Thread } from '../sessions/session.ts';
import type { InboundEvent } from './inbound.ts';

/** An event whose author is a person of ours. */
export interface KnownEvent {
  readonly inboxId: string;
  readonly event: InboundEvent;
  readonly identity: Identity;
  readonly person: Person;
  readonly thread: Thread;
  readonly origin: Origin;
}
