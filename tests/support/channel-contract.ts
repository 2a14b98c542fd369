import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Channel, RawEvent } from '#bots/channel.ts';
import type { SendFailure } from '#core/outbox/channel-sender.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { eventually } from './eventually.ts';

/** One message as a person sees it now, with edits applied. */
export interface VisibleMessage {
  readonly id: string;
  readonly text: string;
  /** Contents of the code blocks in it, without fences. */
  readonly code: readonly string[];
  readonly buttons: readonly { readonly label: string; readonly token?: string }[];
  readonly file?: { readonly name: string; readonly text: string };
}

/** What a channel's own test brings so that the contract suite can drive it against a fake platform. */
export interface ChannelHarness extends AsyncDisposable {
  readonly channel: Channel;
  /** A private conversation with one person, in which the bot may post. */
  readonly conversation: Conversation;
  /** The person writes a message there. */
  says(text: string): Promise<void>;
  /** The person presses the button that carries this token on the newest message that has it. */
  presses(token: string): Promise<void>;
  /** Everything the person sees of the bot's own messages, oldest first. */
  visible(): Promise<readonly VisibleMessage[]>;
  /** Makes the next send fail as the platform would; absent where the platform has no such failure. */
  readonly failures: {
    throttleNextSend?(afterMs: number): Promise<void>;
    /** The person blocked the bot or closed the conversation. */
    becomeUnreachable?(): Promise<void>;
    /** The platform forgets this message, so that it can no longer be edited. */
    forgetMessage?(id: string): Promise<void>;
    /** The platform takes the next send, but its answer is lost. */
    loseNextAnswer?(): Promise<void>;
  };
  /** Makes the platform deliver the newest event again; absent where events cannot repeat. */
  redeliver?(): Promise<void>;
}

/**
 * What a channel has beyond the promises every channel keeps; it decides which further tests are run.
 * `parts` and `files`: long text becomes several messages, then a file. `repeats`: the platform may deliver an event
 * twice. The last four need the function of that name in the harness.
 */
export type ChannelOffer =
  | 'edits'
  | 'deletes'
  | 'buttons'
  | 'parts'
  | 'files'
  | 'repeats'
  | 'throttling'
  | 'blocking'
  | 'forgetting'
  | 'lost answers';

const markdown = (text: string): OutboundBody => ({ parts: [{ type: 'markdown', markdown: text }] });

/**
 * The promises of `bots/channel.ts`, checked on one implementation. Every channel calls this from its own test file.
 *
 * @param offers what the channel has beyond the minimum; checked against its capabilities.
 * @param makeHarness starts a fresh fake platform and a channel that is not yet running.
 */
export function describeChannel(
  name: string,
  offers: readonly ChannelOffer[],
  makeHarness: () => Promise<ChannelHarness>,
): void {
  const when =
    (offer: ChannelOffer) =>
    (title: string, test: () => Promise<void>): void => {
      if (offers.includes(offer)) it(title, test);
    };
  describe(`channel contract: ${name}`, () => {
    let harness: ChannelHarness;
    let received: RawEvent[];
    let stop: AbortController;
    let running: Promise<void> | undefined;
    let refusals: number;
    let outboxIds = 0;
    const nextOutboxId = (): string => {
      outboxIds += 1;
      return `outbox-${outboxIds}`;
    };

    const start = async (): Promise<void> => {
      running = harness.channel.run(async (events) => {
        if (refusals > 0) {
          refusals -= 1;
          throw new Error('the database is down');
        }
        received.push(...events);
      }, stop.signal);
      await eventually(() => expect(harness.channel.health().state).toBe('connected'));
    };
    const events = () => received.flatMap(({ raw }) => harness.channel.normalise(raw));
    const send = (body: OutboundBody) => harness.channel.send(harness.conversation, body, nextOutboxId());
    const capabilities = () => harness.channel.capabilities(harness.conversation);
    const failureOf = async (work: Promise<unknown>): Promise<SendFailure> => {
      try {
        await work;
      } catch (err) {
        return harness.channel.classify(err);
      }
      throw new Error('this was expected to fail');
    };

    beforeEach(async () => {
      received = [];
      refusals = 0;
      stop = new AbortController();
      running = undefined;
      harness = await makeHarness();
    });
    afterEach(async () => {
      stop.abort();
      await running;
      await harness[Symbol.asyncDispose]();
    });

    it('the capabilities are true', () => {
      const offered = capabilities();
      expect(offered.canEdit).toBe(offers.includes('edits'));
      expect(offered.canDelete).toBe(offers.includes('deletes'));
      expect(offered.buttonTokenBytesMax > 0).toBe(offers.includes('buttons'));
      expect(offered.uploadBytesMax > 0).toBe(offers.includes('files'));
      expect(offered.partsMax > 1).toBe(offers.includes('parts'));
    });

    it('a message reaches ingest with a dedup key and normalises to what was said', async () => {
      await start();
      await harness.says('hello there');
      await eventually(() => expect(events().map((event) => event.type)).toContain('message'));
      const event = events().find((candidate) => candidate.type === 'message');
      expect(event).toMatchObject({ text: 'hello there', addressed: 'dm', conversation: harness.conversation });
      expect(event?.actor.isBot).toBe(false);
      expect(received.every(({ dedupKey }) => dedupKey.length > 0)).toBe(true);
    });

    it('an event that could not be stored is delivered again and none is lost', async () => {
      refusals = 2;
      await start();
      await harness.says('first');
      await harness.says('second');
      await eventually(() => {
        // As the inbox does: each key once, and what overtook another on its way by the platform's count.
        const kept = new Map(received.map((event) => [event.dedupKey, event]));
        const texts = [...kept.values()]
          .flatMap(({ raw }) => harness.channel.normalise(raw))
          .toSorted((a, b) => (a.sequence ?? 0) - (b.sequence ?? 0))
          .flatMap((event) => (event.type === 'message' ? [event.text] : []));
        expect(texts).toEqual(['first', 'second']);
      });
    });

    when('repeats')('a redelivered event carries the same dedup key', async () => {
      await start();
      await harness.says('once');
      await eventually(() => expect(received.length).toBeGreaterThan(0));
      const key = received.at(-1)?.dedupKey;
      await harness.redeliver?.();
      await eventually(() => expect(received.filter(({ dedupKey }) => dedupKey === key).length).toBeGreaterThan(1));
    });

    it('run ends when its signal aborts and can be started again', async () => {
      await start();
      stop.abort();
      await running;
      stop = new AbortController();
      await start();
      await harness.says('again');
      await eventually(() => expect(events().length).toBeGreaterThan(0));
    });

    it('junk normalises to nothing instead of throwing', () => {
      fc.assert(
        fc.property(fc.anything({ withNullPrototype: true }), (raw) => {
          expect(Array.isArray(harness.channel.normalise(raw))).toBe(true);
        }),
        { numRuns: 300 },
      );
    });

    it('a sent message is visible once and has an id', async () => {
      await start();
      const ref = await send(markdown('one **bold** word'));
      expect(ref.ids.length).toBe(1);
      const messages = await harness.visible();
      expect(messages.map((message) => message.id)).toEqual(ref.ids);
      expect(messages[0]?.text).toContain('bold');
    });

    when('edits')('an edit changes the message in place', async () => {
      await start();
      const ref = await send(markdown('before'));
      const edited = await harness.channel.edit(harness.conversation, ref, markdown('after'), nextOutboxId());
      expect(edited.ids).toEqual(ref.ids);
      expect((await harness.visible()).map((message) => message.text)).toEqual(['after']);
    });

    when('edits')('an edit that changes nothing counts as done', async () => {
      await start();
      const ref = await send(markdown('same'));
      const outcome = await harness.channel.edit(harness.conversation, ref, markdown('same'), nextOutboxId()).then(
        () => 'done',
        (err: unknown) => harness.channel.classify(err).kind,
      );
      expect(['done', 'no_op']).toContain(outcome);
    });

    when('parts')('an edit grows and shrinks a message over several platform messages', async () => {
      const { textMax } = capabilities();
      await start();
      const long = Array.from({ length: Math.ceil((textMax * 1.3) / 10) }, (_, line) => `line ${line}`.padEnd(9)).join(
        '\n',
      );
      const ref = await send(markdown('short'));
      const grown = await harness.channel.edit(harness.conversation, ref, markdown(long), nextOutboxId());
      expect(grown.ids.length).toBeGreaterThan(1);
      expect(grown.ids[0]).toBe(ref.ids[0]);
      const shrunk = await harness.channel.edit(harness.conversation, grown, markdown('short again'), nextOutboxId());
      expect(shrunk.ids).toEqual(ref.ids);
      expect((await harness.visible()).map((message) => message.text)).toEqual(['short again']);
    });

    it('the longest allowed text goes out as one message', async () => {
      await start();
      const { textMax } = capabilities();
      const ref = await send(markdown('x'.repeat(Math.min(textMax, 100_000))));
      expect(ref.ids.length).toBe(1);
    });

    it('long text is split, readable, and complete', async () => {
      await start();
      const { textMax, partsMax } = capabilities();
      const words = Array.from(
        { length: Math.ceil((Math.min(textMax, 20_000) * 1.5) / 9) },
        (_, word) => `word${word}`,
      );
      const ref = await send(markdown(words.join(' ')));
      expect(ref.ids.length).toBeLessThanOrEqual(Math.max(partsMax, 1));
      const seen = (await harness.visible()).map((message) => message.text).join(' ');
      expect(seen.split(/\s+/).filter((word) => word !== '')).toEqual(words);
    });

    it('code that is split stays code in every part', async () => {
      await start();
      const { textMax } = capabilities();
      const lines = Array.from({ length: Math.ceil((Math.min(textMax, 20_000) * 1.5) / 20) }, (_, line) =>
        `const value${line} = ${line};`.padEnd(19, '/'),
      );
      await send(markdown(`Before.\n\n\`\`\`ts\n${lines.join('\n')}\n\`\`\`\n\nAfter.`));
      const code = (await harness.visible()).flatMap((message) => message.code);
      expect(
        code
          .join('\n')
          .split('\n')
          .filter((line) => line !== ''),
      ).toEqual(lines);
    });

    when('files')('text beyond the largest number of parts arrives whole as a file', async () => {
      const { textMax, partsMax } = capabilities();
      await start();
      const text = Array.from({ length: Math.ceil((textMax * (partsMax + 1)) / 10) }, (_, line) =>
        `row ${line}`.padEnd(9),
      ).join('\n');
      await send(markdown(text));
      const file = (await harness.visible()).find((message) => message.file !== undefined)?.file;
      expect(file?.text).toContain(text.split('\n').at(-1)?.trim());
      expect(file?.text).toContain('row 0');
    });

    when('buttons')('a button brings its token back', async () => {
      await start();
      const token = 'v1.abcdefghijklmnopqrstuv.y';
      await send({
        parts: [
          { type: 'markdown', markdown: 'Allow it?' },
          {
            type: 'buttons',
            rows: [
              [
                { label: 'Allow', token, style: 'success' },
                { label: 'Deny', token: 'v1.other' },
              ],
            ],
          },
        ],
      });
      expect((await harness.visible()).at(-1)?.buttons.map((button) => button.label)).toEqual(['Allow', 'Deny']);
      await harness.presses(token);
      await eventually(() => expect(events().some((event) => event.type === 'action')).toBe(true));
      const action = events().find((event) => event.type === 'action');
      expect(action).toMatchObject({ token, conversation: harness.conversation });
      if (action?.type === 'action') {
        await harness.channel.acknowledge(action.interactionToken, { text: 'Noted.', isAlert: false });
        await harness.channel.acknowledge(action.interactionToken);
      }
    });

    when('buttons')('a button token over the limit is refused before anything is shown', async () => {
      const { buttonTokenBytesMax } = capabilities();
      await start();
      const failure = await failureOf(
        send({ parts: [{ type: 'buttons', rows: [[{ label: 'x', token: 'é'.repeat(buttonTokenBytesMax) }]] }] }),
      );
      expect(failure.kind).toBe('bad_format');
      expect(await harness.visible()).toEqual([]);
    });

    it('lone surrogates, control characters and empty text do not break a send', async () => {
      await start();
      for (const text of ['a\ud800b', '\udc00', '\u0000\u0007x', '', '   ', '👩‍💻'.repeat(50)])
        await send(markdown(text));
      expect((await harness.visible()).length).toBe(6);
    });

    when('deletes')('a deleted message is gone, and deleting it twice is harmless', async () => {
      await start();
      const ref = await send(markdown('remove me'));
      await harness.channel.delete(harness.conversation, ref);
      await harness.channel.delete(harness.conversation, ref);
      expect(await harness.visible()).toEqual([]);
    });

    when('throttling')('a throttled send says how long to wait', async () => {
      await start();
      await harness.failures.throttleNextSend?.(3_000);
      expect(await failureOf(send(markdown('busy')))).toMatchObject({ kind: 'throttled', afterMs: 3_000 });
    });

    when('blocking')('a person who cannot be reached is reported as unreachable', async () => {
      await start();
      await harness.failures.becomeUnreachable?.();
      expect((await failureOf(send(markdown('anyone?')))).kind).toBe('unreachable');
    });

    when('forgetting')('editing a message the platform forgot is reported as gone', async () => {
      await start();
      const ref = await send(markdown('soon gone'));
      await harness.failures.forgetMessage?.(ref.ids[0] ?? '');
      const failure = await failureOf(
        harness.channel.edit(harness.conversation, ref, markdown('late'), nextOutboxId()),
      );
      expect(failure.kind).toBe('gone');
    });

    when('lost answers')(
      'a send whose answer was lost has an unknown outcome unless the platform recognises repeats',
      async () => {
        await start();
        await harness.failures.loseNextAnswer?.();
        const expected = capabilities().idempotentSend === 'none' ? ['unknown_outcome'] : ['unknown_outcome', 'retry'];
        expect(expected).toContain((await failureOf(send(markdown('hello?')))).kind);
      },
    );

    it('any error at all can be classified', () => {
      fc.assert(
        fc.property(fc.anything(), (thrown) => {
          const failure = harness.channel.classify(thrown);
          expect(failure.reason.length).toBeGreaterThan(0);
        }),
        { numRuns: 100 },
      );
    });

    it('typing and drafts never fail where the channel offers them', async () => {
      await start();
      if (capabilities().typingIntervalMs > 0) await harness.channel.typing(harness.conversation);
      if (capabilities().nativeStream === 'draft') {
        await harness.channel.draft(harness.conversation, 7, 'half a **sen');
        await harness.channel.draft(harness.conversation, 7, '');
      }
    });

    it('registering the same commands twice changes them once', async () => {
      await start();
      const commands = [
        { name: 'help', description: 'What I can do' },
        { name: 'stop', description: 'Stop the running turn' },
      ];
      await harness.channel.registerCommands(commands);
      expect(await harness.channel.registerCommands(commands)).toEqual({ changed: false });
    });
  });
}
