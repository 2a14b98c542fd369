import type { Channel } from '#bots/channel.ts';
import { moveRoom } from '#core/channels/move-room.ts';
import { noteRoom } from '#core/channels/note-room.ts';
import { hydrateBody } from '#core/files/hydrate-body.ts';
import { newId } from '#core/kit/ids.ts';
import { tellOperators } from '#core/people/tell-operators.ts';
import type { DeliveryLoopDeps } from '#workers/delivery/delivery-loop.ts';
import type { Services } from './services.ts';

/** What the deliveries of one account need, with what failures mean for rooms and operators. */
export function deliveryDeps(
  { db, log }: Pick<Services, 'db' | 'log'>,
  sender: Channel,
  owner: string,
): DeliveryLoopDeps {
  const { channel, account } = sender;
  return {
    db,
    log,
    sender,
    owner,
    hydrate: async (body, conversation) => await hydrateBody(db, body, sender, conversation),
    moveRoom: async ({ room }, newRoom) => await moveRoom({ db, log }, { channel, account, room }, newRoom),
    noteUnreachable: async ({ room, thread }, reason) => {
      // A topic that is closed says nothing about its room.
      if (thread !== undefined) return;
      await db.transaction().execute(async (tx) => {
        await noteRoom({ tx, log }, { channel, account, room }, 'unreachable', reason);
      });
    },
    noteRefused: async (reason) => {
      await db.transaction().execute(async (tx) => {
        await tellOperators(tx, {
          key: `refused:${newId()}`,
          level: 'error',
          markdown: `My ${channel} account is refused when it sends: ${reason}. Messages wait until the token is valid again.`,
          exceptAccount: { channel, account },
        });
      });
    },
  };
}
