import type { Conversation } from '../sessions/origin.ts';
import type { ChannelSender } from './channel-sender.ts';
import type { PaceRules } from './outbox-store.ts';

/** The intervals and budgets of a channel, as the outbox keeps them for all its workers. */
export function paceRules(sender: ChannelSender): PaceRules {
  const of = (kind: Conversation['kind']) =>
    sender.capabilities({ channel: sender.channel, account: sender.account, room: '0', kind });
  const rule = (kind: Conversation['kind']): PaceRules['kinds'][Conversation['kind']] => {
    const { sendIntervalMs, editIntervalMs, pacedPer = 'room' } = of(kind);
    return { sendMs: sendIntervalMs, editMs: editIntervalMs, perRoom: pacedPer === 'room' };
  };
  return {
    kinds: { dm: rule('dm'), group: rule('group'), channel: rule('channel') },
    budgets: of('channel').budgets ?? {},
  };
}
