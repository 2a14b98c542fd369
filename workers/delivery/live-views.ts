import type { AnswerStream, ChannelSender } from '#core/outbox/channel-sender.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import type { LiveStage } from './live-stage.ts';
import { safeCut } from './stream-cut.ts';

/** A draft preview lasts 30 s on Telegram; refreshed in time it never vanishes during a long tool call. */
const draftKeepAliveMs = 20_000;
/** A message is worth posting after this much text or time: the first words of a short answer need no edit. */
const firstPostChars = 120;
const firstPostMs = 150;
/** After an outage nobody wants to watch an old answer grow. */
const previewValidMs = 60_000;
/** An addition to a stream is made after this much time or text, whichever is first. */
const appendMs = 1000;
const appendChars = 256;
const appendGapMs = 350;
/** Looks again this long after it was denied a call, where there is no typing sign. */
const deniedMs = 60_000;
/** Of an allowance of edits, so much is left to the final words: what was previewed by a message ends by an edit. */
const keptShare = 0.5;
/** How often what a stream shows is stored, for the case that its worker dies. */
const streamSavedMs = 5000;

/** The latest of one message that is being written. */
interface Shown {
  /** The outbox key its final form will carry. */
  readonly key: string;
  readonly text: string;
  /** What is being done between texts; empty for nothing. */
  readonly status: string;
}

/** One way to show a growing message. */
export interface View {
  /** Shows the latest state. @throws what the sender's `classify` reads. */
  show(shown: Shown): Promise<void>;
  /** Whether there is enough new text for a call; `firstMs` is the time since the first text. */
  isReady(text: string, firstMs: number): boolean;
  /** Shortest time between two calls with text. */
  readonly intervalMs: number;
  /** Looks again this long after the first text when it was not ready. */
  readonly patienceMs: number;
  /** Shows again after this long without news; 0 for never. */
  readonly keepAliveMs: number;
  /** Another message begins. */
  begin(key: string): Promise<void>;
  /** What was shown of the message is not part of it any more. */
  restart(): void;
}

/** What the views of one turn know. */
export interface ViewContext {
  readonly stage: LiveStage;
  readonly sender: ChannelSender;
  readonly conversation: Conversation;
  readonly sessionId: string;
  readonly turnId: string;
  /** 31-bit id of the platform's draft, the same for the whole turn. */
  readonly draftId: number;
  /** External id of the person who asked. */
  readonly recipient?: string;
  /** Whether another worker may have begun to show this turn. */
  readonly isResumed: boolean;
}

/** A native draft: an ephemeral preview that ends with the message itself. */
export function draftView({ sender, conversation, draftId }: ViewContext): View {
  return {
    intervalMs: sender.capabilities(conversation).editIntervalMs,
    patienceMs: 0,
    keepAliveMs: draftKeepAliveMs,
    isReady: () => true,
    begin: async () => {},
    restart: () => {},
    show: async ({ text, status }) => {
      const shown = status === '' ? text : `${text}${text === '' ? '' : '\n\n'}_${status}_`;
      await sender.draft(conversation, draftId, shown);
    },
  };
}

/** A message that is posted and edited through the outbox, where its final text takes its place. */
export function postView(context: ViewContext): View {
  const { stage, sender, conversation, sessionId, turnId } = context;
  const { editIntervalMs, typingIntervalMs } = sender.capabilities(conversation);
  let posted = '';
  let isDenied = false;
  return {
    intervalMs: editIntervalMs,
    get patienceMs() {
      return isDenied ? Math.max(typingIntervalMs, deniedMs) : firstPostMs;
    },
    keepAliveMs: typingIntervalMs,
    isReady: (text, firstMs) => !isDenied && (posted !== '' || text.length >= firstPostChars || firstMs >= firstPostMs),
    begin: async () => {
      posted = '';
      isDenied = false;
    },
    restart: () => {},
    show: async ({ key, text }) => {
      // Nothing new to read: the typing sign says that work goes on.
      if (posted === '' && text.trim() !== '' && !isDenied) {
        isDenied = !(await stage.mayCall(sender, 'edit', keptShare));
      }
      if (isDenied || text.trim() === '' || text === posted) {
        return await showTyping(context);
      }
      posted = text;
      await stage.put({
        key,
        conversation,
        importance: 'progress',
        sessionId,
        turnId,
        isFinal: false,
        validMs: previewValidMs,
        body: { parts: [{ type: 'markdown', markdown: `${text} …` }], isUnfinished: true },
      });
    },
  };
}

/**
 * A native stream, which only grows. Its messages are recorded under the answer's outbox key as soon as they are there,
 * so that the final text is an edit of them, which also ends the stream. What breaks, starts anew or was begun by a
 * worker that died goes on by edits; when the account may start no more streams, the typing sign has to do.
 */
export function streamView(context: ViewContext): View {
  const { stage, sender, conversation, sessionId, turnId, recipient } = context;
  const { typingIntervalMs, canEdit } = sender.capabilities(conversation);
  const edits = postView(context);
  let mode: 'idle' | 'open' | 'edits' | 'silent' = 'idle';
  let stream: AnswerStream | undefined;
  let appended = 0;
  let appendedAt = 0;
  let savedAt = 0;
  let savedIds = '';
  const silentMs = typingIntervalMs > 0 ? typingIntervalMs : previewValidMs;

  const typing = async (): Promise<void> => await showTyping(context);
  const save = async (key: string, text: string): Promise<void> => {
    if (stream === undefined) return;
    const platformIds = [...stream.ref.ids];
    const isNews = platformIds.join() !== savedIds;
    if (!isNews && Date.now() - savedAt < streamSavedMs) return;
    const isOurs = await stage.recordStream({ key, conversation, sessionId, turnId, platformIds, markdown: text });
    if (!isOurs) {
      // The platform was so slow to open it that the whole answer stands there already.
      mode = 'silent';
      await sender.delete(conversation, { ids: platformIds });
      return;
    }
    savedAt = Date.now();
    savedIds = platformIds.join();
  };
  const open = async (): Promise<boolean> => {
    if (sender.openStream === undefined || !(await stage.mayCall(sender, 'stream'))) return false;
    stream = await sender.openStream(conversation, recipient === undefined ? {} : { recipient });
    return true;
  };

  return {
    intervalMs: appendGapMs,
    get patienceMs() {
      return mode === 'silent' ? silentMs : appendMs;
    },
    keepAliveMs: typingIntervalMs > 0 ? typingIntervalMs : appendMs,
    isReady: (text, firstMs) => {
      if (mode === 'edits') return edits.isReady(text, firstMs);
      if (mode === 'silent') return false;
      if (stream === undefined) return text.trim() !== '';
      return text.length - appended >= appendChars || Date.now() - appendedAt >= appendMs;
    },
    begin: async (key) => {
      stream = undefined;
      appended = 0;
      savedIds = '';
      mode = 'idle';
      await edits.begin(key);
      // A stream of a worker that died cannot be added to, but what it shows can be edited.
      if (context.isResumed && (await stage.isBegun(key))) mode = canEdit ? 'edits' : 'silent';
    },
    restart: () => {
      // What stands there cannot be taken back by adding to it.
      if (appended > 0) mode = canEdit ? 'edits' : 'silent';
    },
    show: async (shown) => {
      const { key, text } = shown;
      if (mode === 'edits') return await edits.show(shown);
      if (mode === 'silent' || text.trim() === '') return await typing();
      if (mode === 'idle') {
        try {
          mode = (await open()) ? 'open' : 'silent';
        } catch (err) {
          // Not here, or not now: the same words as a message that is edited.
          mode = canEdit ? 'edits' : 'silent';
          throw err;
        }
        if (mode === 'silent') return await typing();
        await save(key, text);
        if (mode !== 'open') return;
      }
      const end = safeCut(text, appended);
      if (end === appended || !(await stage.mayCall(sender, 'append'))) return;
      try {
        await stream?.append(text.slice(appended, end));
      } catch (err) {
        if (sender.classify(err).kind !== 'throttled') mode = canEdit ? 'edits' : 'silent';
        throw err;
      }
      appended = end;
      appendedAt = Date.now();
      await save(key, text.slice(0, end));
    },
  };
}

/** The platform's own sign that something is being written. It counts as a call like any other, and is the least of them. */
async function showTyping({ stage, sender, conversation }: ViewContext): Promise<void> {
  if (sender.capabilities(conversation).typingIntervalMs === 0) return;
  if (await stage.mayCall(sender, 'any', keptShare)) await sender.typing(conversation);
}
