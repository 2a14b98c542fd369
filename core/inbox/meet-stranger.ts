import { appendAudit } from '../audit/append-audit.ts';
import type { Db, Tx } from '../kit/database.ts';
import type { Log } from '../kit/log.ts';
import { countOpenOffers } from '../offers/count-offers.ts';
import { putOffer } from '../offers/put-offer.ts';
import { type NewMessage, putMessages } from '../outbox/put-messages.ts';
import type { ChannelAccess } from '../people/access.ts';
import { burnCode } from '../people/burn-code.ts';
import { looksLikeCode } from '../people/code-text.ts';
import { findPeopleOf, findReach } from '../people/find-reach.ts';
import { linkIdentity } from '../people/link-identity.ts';
import { noteSeen } from '../people/note-seen.ts';
import { pairIdentity } from '../people/pair-identity.ts';
import type { Identity } from '../people/person.ts';
import { refuseCode, refuseOnce } from '../people/refuse-stranger.ts';
import type { Conversation } from '../sessions/origin.ts';
import type { InboundEvent } from './inbound.ts';
import { markEvent } from './inbox-store.ts';
import { refusedPress } from './refused-press.ts';

/** How long an owner may take to let a stranger in. */
const requestMs = 7 * 24 * 60 * 60_000;
/** Strangers owners are asked about at a time: a crowd must not fill their chats. */
const requestsMax = 20;

export interface StrangerDeps {
  readonly db: Db;
  readonly log: Log;
  readonly access: ChannelAccess;
  readonly acknowledge: (event: InboundEvent, text: string, isAlert: boolean) => Promise<void>;
}

/**
 * Someone we do not know: a code makes them known, in private; otherwise they are refused once and then met with
 * silence, so that a public bot cannot be made to spam. In a room of several people a code is spoilt, because everybody
 * there has read it.
 */
export async function meetStranger(
  deps: StrangerDeps,
  inboxId: string,
  event: InboundEvent,
  identity: Identity,
): Promise<void> {
  const { conversation } = event;
  if (event.type === 'action') await deps.acknowledge(event, 'Only people I am paired with can decide this.', true);
  const code = codeIn(event);
  const isPrivate = conversation.kind === 'dm';
  await deps.db.transaction().execute(async (tx) => {
    const isFirst = await markEvent(tx, inboxId, isPrivate || code !== undefined ? 'routed' : 'ignored');
    if (!isFirst) return;
    const text = isPrivate
      ? await answerInPrivate(deps, tx, event, identity, code)
      : code !== undefined && (await burnCode(tx, code.text, identity))
        ? 'Everyone here has read that code, so it does not work any more. Ask for a new one and send it to me in private.'
        : undefined;
    if (text !== undefined) await putMessages(tx, [said(inboxId, event, text)]);
    if (event.type === 'action') await appendAudit(tx, [refusedPress(event, 'stranger')]);
  });
}

interface TypedCode {
  readonly text: string;
  readonly purpose: 'pairing' | 'link' | 'any';
}

function codeIn(event: InboundEvent): TypedCode | undefined {
  if (event.type === 'command' && event.args.trim() !== '') {
    if (event.name === 'start') return { text: event.args.trim(), purpose: 'any' };
    if (event.name === 'link') return { text: event.args.trim(), purpose: 'link' };
  }
  if (event.type === 'message' && looksLikeCode(event.text)) return { text: event.text.trim(), purpose: 'any' };
  return undefined;
}

/** @returns what the stranger is told; undefined for silence. */
async function answerInPrivate(
  deps: StrangerDeps,
  tx: Tx,
  event: InboundEvent,
  identity: Identity,
  code: TypedCode | undefined,
): Promise<string | undefined> {
  if (code !== undefined) {
    const welcome = await tryCode(deps, tx, event.conversation, identity, code);
    if (welcome !== undefined) return welcome;
    if (await refuseCode(tx, identity.id)) {
      return 'That code is not valid any more. Ask whoever runs this bot for a new one.';
    }
  }
  if (!(await refuseOnce(tx, identity.id))) return undefined;
  return deps.access.asksOwners && !identity.isRemoved && (await askOwners(tx, event, identity))
    ? 'I only work for people I am paired with. I have asked whether you may be let in, and tell you here when somebody has decided.'
    : 'I only work for people I am paired with. If you have a code, send it as `/start CODE`.';
}

async function tryCode(
  deps: StrangerDeps,
  tx: Tx,
  conversation: Conversation,
  identity: Identity,
  code: TypedCode,
): Promise<string | undefined> {
  const paired = code.purpose === 'link' ? undefined : await pairIdentity(tx, identity, code.text);
  if (paired !== undefined) {
    // The code came in private, so from now on they can be reached there, before they write anything else.
    await noteSeen(tx, identity.id, conversation);
    deps.log.info({ identityId: identity.id, personId: paired.id, role: paired.role }, 'identity paired');
    return `Welcome, ${paired.displayName}. We are paired: write to me, or send /help to see what I can do.`;
  }
  const linked = await linkIdentity(tx, identity, code.text, conversation);
  if (linked.kind !== 'linked') return undefined;
  deps.log.info({ identityId: identity.id, personId: linked.person.id }, 'identity linked');
  return `Welcome back, ${linked.person.displayName}. This account is yours too from now on.`;
}

/** @returns whether there was somebody to ask, who is not asked about many others already. */
async function askOwners(tx: Tx, event: InboundEvent, identity: Identity): Promise<boolean> {
  if ((await countOpenOffers(tx, 'admit')) >= requestsMax) return false;
  const places: Conversation[] = [];
  for (const personId of await findPeopleOf(tx, ['owner', 'admin'])) {
    const reach = (await findReach(tx, personId))[0];
    if (reach !== undefined) places.push(reach.conversation);
  }
  const name = identity.displayName.replaceAll(/[*_`\n[\]]/g, ' ').slice(0, 80);
  await putOffer(tx, {
    subject: { kind: 'admit', identityId: identity.id, conversation: event.conversation },
    markdown: `**${name}** (${identity.channel} \`${identity.externalId.replaceAll('`', "'")}\`) wrote to me and is not known to me. Shall I work for them, as a member?`,
    places,
    validMs: requestMs,
  });
  return places.length > 0;
}

function said(inboxId: string, event: InboundEvent, markdown: string): NewMessage {
  return {
    key: `inbox:${inboxId}:reply`,
    conversation: event.conversation,
    importance: 'notice',
    body: {
      parts: [{ type: 'markdown', markdown }],
      ...(event.interactionToken === undefined ? {} : { interactionToken: event.interactionToken }),
    },
  };
}
