import {
  actionsSchema,
  callbackSchema,
  channelIdOf,
  commandSchema,
  isTalk,
  type SlackEvent,
  submissionSchema,
} from './slack-raw.ts';

/** What can be told about a payload before it is stored. */
export interface PayloadSummary {
  readonly dedupKey: string;
  /** Who acted. */
  readonly userId: string | undefined;
  /** The event inside, where the payload is one. */
  readonly event?: SlackEvent;
}

/**
 * Recognises a payload and names it so that its second arrival is the same. A message that mentions the bot comes as two
 * events with ids of their own, so messages are named by their place and time.
 * @returns undefined for a payload we have no use for.
 */
export function summarise(body: unknown): PayloadSummary | undefined {
  const callback = callbackSchema.safeParse(body).data;
  if (callback !== undefined) {
    const { event } = callback;
    const channel = channelIdOf(event.channel);
    const isMessage = isTalk(event) && channel !== undefined && typeof event.ts === 'string';
    return {
      dedupKey: isMessage ? `message:${callback.team_id ?? ''}:${channel}:${event.ts}` : `event:${callback.event_id}`,
      userId: event.user ?? undefined,
      event,
    };
  }
  const command = commandSchema.safeParse(body).data;
  if (command !== undefined) return { dedupKey: `command:${command.trigger_id}`, userId: command.user_id };
  const actions = actionsSchema.safeParse(body).data;
  if (actions !== undefined) {
    const [action] = actions.actions;
    const when = action?.action_ts ?? actions.trigger_id;
    return { dedupKey: `action:${when}:${action?.action_id ?? ''}:${actions.user.id}`, userId: actions.user.id };
  }
  const submission = submissionSchema.safeParse(body).data;
  if (submission !== undefined) {
    return { dedupKey: `view:${submission.view.id}:${submission.view.hash}`, userId: submission.user.id };
  }
  return undefined;
}
