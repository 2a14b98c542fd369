import { pino } from 'pino';
import { expect } from 'vitest';
import { TelegramChannel } from '#bots/telegram/telegram-channel.ts';
import type { SendFailure } from '#core/outbox/channel-sender.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { FakeTelegram, type FakeTelegramOptions } from '../fakes/telegram/fake-telegram.ts';

export const person = 501;
export const group = -100;

export const markdown = (text: string): OutboundBody => ({ parts: [{ type: 'markdown', markdown: text }] });

/** A channel against a fake with one private chat and one forum; whatever happens, the token is in no log line. */
export class TelegramStage implements AsyncDisposable {
  readonly fake: FakeTelegram;
  readonly channel: TelegramChannel;
  readonly dm: Conversation;
  readonly team: Conversation;
  readonly #logLines: string[];

  private constructor(fake: FakeTelegram, channel: TelegramChannel, logLines: string[]) {
    this.fake = fake;
    this.channel = channel;
    this.#logLines = logLines;
    this.dm = { channel: 'telegram', account: channel.account, room: String(person), kind: 'dm' };
    this.team = { ...this.dm, room: String(group), kind: 'group' };
  }

  static async open(
    options: FakeTelegramOptions & Partial<ConstructorParameters<typeof TelegramChannel>[0]> = {},
  ): Promise<TelegramStage> {
    const fake = await FakeTelegram.start(options);
    fake.people.privateChat(person);
    fake.people.group(group, { isForum: true });
    const logLines: string[] = [];
    const channel = new TelegramChannel({
      apiRoot: fake.apiRoot,
      log: pino({ level: 'trace' }, { write: (line: string) => void logLines.push(line) }),
      ...options,
      token: fake.token,
    });
    return new TelegramStage(fake, channel, logLines);
  }

  /** What a call that must fail means for a delivery. */
  async failure(work: Promise<unknown>): Promise<SendFailure> {
    const err: unknown = await work.then(
      () => expect.fail('this was expected to fail'),
      (thrown: unknown) => thrown,
    );
    expect(`${String(err)}${JSON.stringify(err)}`).not.toContain(this.secret);
    return this.channel.classify(err);
  }

  get secret(): string {
    return this.fake.token.split(':')[1] ?? '';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.fake[Symbol.asyncDispose]();
    expect(this.#logLines.join()).not.toContain(this.secret);
  }
}
