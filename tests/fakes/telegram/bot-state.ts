import type { WebhookDelivery } from './webhook-delivery.ts';
import type { FakeChat, FakeFile, FakeUser } from './world.ts';

/** What the methods read and change; owned by the server. */
export interface BotState {
  readonly bot: FakeUser;
  readonly chats: Map<number, FakeChat>;
  readonly files: Map<string, FakeFile>;
  readonly answers: Map<string, { text: string; isAlert: boolean } | undefined>;
  commands: { command: string; description: string }[];
  /** Every reaction the bot set, oldest first. */
  readonly reactions: { chatId: number; messageId: number; emoji: string[] }[];
  /** Milliseconds since the epoch, by which drafts grow old. */
  readonly now: () => number;
  /** Methods an older server does not have. */
  readonly missingMethods: Set<string>;
  /** An older server leaves out what it does not know of ephemeral messages, and shows them to all. */
  knowsEphemeral: boolean;
  /** Topics in private chats, and whether privacy mode is off: switches of the bot's owner. */
  hasTopics: boolean;
  readsAllGroupMessages: boolean;
  readonly webhook: WebhookDelivery;
  nextFile: number;
  nextAlbum: number;
}
