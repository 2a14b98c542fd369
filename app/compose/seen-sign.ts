import type { Channel } from '#bots/channel.ts';
import type { AcceptedTurn, NewTurn } from '#core/lanes/lane.ts';
import type { LiveStage } from '#workers/delivery/live-stage.ts';

/**
 * Shows under a message that it was seen, when it has to wait behind another one: a turn that begins at once shows that
 * by itself. Best effort; nobody waits for it.
 */
export function withSeenSign(
  accept: (turn: NewTurn) => Promise<AcceptedTurn>,
  channel: Channel,
  stage: Pick<LiveStage, 'mayCall'>,
): (turn: NewTurn) => Promise<AcceptedTurn> {
  return async (turn) => {
    const accepted = await accept(turn);
    const { messageId } = turn.origin;
    const capabilities = channel.capabilities(turn.origin);
    const isShown = capabilities.reactions && capabilities.nativeStream !== 'draft' && messageId !== undefined;
    if (isShown && !accepted.isDuplicate && accepted.wake === undefined && accepted.signal !== 'cancel') {
      void stage.mayCall(channel, 'react').then(
        async (mayReact) => {
          if (mayReact) await channel.react?.(turn.origin, messageId, 'seen').catch(() => undefined);
        },
        () => undefined,
      );
    }
    return accepted;
  };
}
