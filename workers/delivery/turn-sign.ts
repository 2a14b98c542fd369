import type { ReactionSign } from '#core/outbox/channel-sender.ts';
import type { LiveStage } from './live-stage.ts';
import type { ViewContext } from './live-views.ts';
import type { Painter } from './preview-pump.ts';

/** An answer that comes sooner needs no sign. */
const patienceMs = 400;
/** Of an allowance of reactions, so much is left to taking signs away. */
const keptShare = 0.5;

/** The reaction under the message of whoever asked: light progress that notifies nobody. Best effort. */
export interface TurnSign {
  /** Shows that the turn is worked on, unless it ends at once. */
  working(): void;
  /** Takes the sign away, or leaves one of failure. Not awaited by the turn. */
  end(state: 'done' | 'failed'): void;
}

/**
 * The sign for a turn, where the channel has reactions and shows nothing better: a draft in the same conversation says
 * all of it.
 */
export function openTurnSign(options: {
  readonly stage: LiveStage;
  readonly sender: ViewContext['sender'] | undefined;
  readonly conversation: ViewContext['conversation'];
  readonly messageId: string | undefined;
  /** Whether an earlier worker may have left one. The gateway's sign of receipt is replaced by ours, or may stay. */
  readonly mayStand: boolean;
}): TurnSign {
  const { stage, sender, conversation, messageId, mayStand } = options;
  const capabilities = sender?.capabilities(conversation);
  if (
    sender?.react === undefined ||
    capabilities === undefined ||
    messageId === undefined ||
    !capabilities.reactions ||
    capabilities.nativeStream === 'draft'
  ) {
    return { working: () => {}, end: () => {} };
  }
  let last: Promise<void> = Promise.resolve();
  let isStanding = mayStand;
  let isEnded = false;
  const show = (sign: ReactionSign | undefined): void => {
    last = last.then(async () => {
      // A sign that was not shown need not be taken away; for one that was, there is an allowance left.
      if (sign === undefined && !isStanding) return;
      if (!(await stage.mayCall(sender, 'react', sign === undefined ? 0 : keptShare))) return;
      isStanding = sign !== undefined;
      await sender.react?.(conversation, messageId, sign);
    });
    last = last.catch((err: unknown) => {
      stage.log.debug({ reason: sender.classify(err).reason }, 'sign was not shown');
    });
  };
  const painter: Painter = {
    isFirst: false,
    paint: async () => {
      if (isEnded) return;
      show('working');
      await last;
    },
  };
  return {
    working: () => stage.pump.ask(painter, patienceMs),
    end: (state) => {
      isEnded = true;
      stage.pump.forget(painter);
      if (state === 'failed') show('failed');
      else show(undefined);
    },
  };
}
