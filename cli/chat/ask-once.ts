import { styleText } from 'node:util';
import { newId } from '#core/kit/ids.ts';
import { addressAgent } from './address-agent.ts';
import { type Card, findAnswer, toCard } from './approval-card.ts';
import { type ChatOptions, chatExit } from './chat-options.ts';
import { cleanLine, cleanText } from './clean-text.ts';
import type { ConsoleClient } from './console-client.ts';
import { type Paint, renderParts } from './render-message.ts';
import type { ChatEvent, ChatMessage, TurnState } from './stream-event.ts';

/** A command may answer without a turn: this long after its last message nothing more is expected. */
const quietMs = 700;
/** Longer than a free lane needs to start a turn. */
const blockedMs = 2_000;

/**
 * Says one thing and waits for the answer: the text of the last message on standard output, problems on standard error,
 * or with `isJson` every event as a line.
 * @returns the exit code: 0 answered, 1 failed, 3 an approval is needed and no answer to it was given.
 */
export async function askOnce(client: ConsoleClient, text: string, options: ChatOptions): Promise<number> {
  const { stdout, stderr } = options;
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const asked = addressAgent(text, options.agent);
  const tracker = new TurnTracker(asked.trimStart().startsWith('/'));
  const messages = new Map<string, ChatMessage>();
  const answered = new Set<string>();
  let quiet: NodeJS.Timeout | undefined;
  let stuck: NodeJS.Timeout | undefined;
  let exit: number = chatExit.interrupted;

  const print = (event: ChatEvent): void => {
    // What was before our question is not part of the answer.
    if (options.isJson === true && tracker.key !== undefined) stdout.write(`${JSON.stringify(event)}\n`);
  };
  const end = (code: number): void => {
    exit = code;
    stop.abort();
  };
  const settle = async (card: Card | undefined): Promise<void> => {
    if (card === undefined || answered.has(card.messageId)) return;
    const token = options.answer === undefined ? undefined : findAnswer(card, options.answer);
    if (token !== undefined) {
      answered.add(card.messageId);
      await client.press(token, card.messageId, signal);
      return;
    }
    if (options.isJson !== true) {
      const message = messages.get(card.messageId);
      stderr.write(`${renderParts(message?.parts ?? [], { paint: painter(stderr) })}\n`);
      const id = tracker.approvalId === undefined ? '' : ` ${cleanLine(tracker.approvalId)}`;
      stderr.write(
        tracker.waitsForWords
          ? 'A question waits for an answer. Give it in a chat.\n'
          : `An approval${id} is needed. Answer it in a chat, or ask again with --approve or --deny.\n`,
      );
    }
    end(chatExit.approvalNeeded);
  };

  /** Behind a turn that waits for people, ours may not start for hours: a script is told instead of held. */
  const tellBlocker = (): void => {
    const blocker = tracker.blocker;
    if (blocker === undefined) return;
    if (options.isJson !== true) {
      const id = blocker.approvalId === undefined ? '' : ` ${cleanLine(blocker.approvalId)}`;
      stderr.write(`An earlier message of this conversation waits for approval${id}; this one is done after it.\n`);
    }
    end(chatExit.approvalNeeded);
  };

  const { change } = await client.history(1);
  try {
    for await (const event of client.follow(change, signal)) {
      if (event.type === 'ready' && tracker.key === undefined) {
        // Asked only now: whatever the answer is, it is heard.
        tracker.key = newId();
        await client.say(tracker.key, asked, signal);
        stuck = setTimeout(tellBlocker, blockedMs);
      }
      print(event);
      switch (event.type) {
        case 'message':
          if (event.message.direction !== 'out') break;
          messages.set(event.message.messageId, event.message);
          if (tracker.isWaiting) await settle(findCard(messages));
          if (tracker.mayEndWithoutTurn) {
            clearTimeout(quiet);
            quiet = setTimeout(() => {
              if (tracker.mayEndWithoutTurn) end(chatExit.done);
            }, quietMs);
          }
          break;
        case 'turn':
          tracker.take(event.turn);
          if (tracker.blocker !== undefined && tracker.key !== undefined) {
            clearTimeout(stuck);
            stuck = setTimeout(tellBlocker, blockedMs);
          }
          if (tracker.isWaiting) await settle(findCard(messages));
          if (tracker.outcome !== undefined) end(tracker.outcome === 'done' ? chatExit.done : chatExit.failed);
          break;
        case 'ack':
          if (event.isAlert && options.isJson !== true) stderr.write(`${cleanText(event.text ?? '')}\n`);
          if (event.isAlert && tracker.isWaiting) end(chatExit.failed);
          break;
        case 'disconnected':
          if (options.isJson !== true) stderr.write(`${event.reason} Trying again …\n`);
          break;
        case 'ready':
        case 'draft':
        case 'typing':
          break;
      }
    }
  } catch (err) {
    // Ended by us, or by whoever interrupted; anything else is told by the caller.
    if (!signal.aborted) throw err;
  } finally {
    clearTimeout(quiet);
    clearTimeout(stuck);
    stop.abort();
  }
  if (options.isJson === true) stdout.write(`${JSON.stringify({ type: 'end', exitCode: exit })}\n`);
  else if (exit === chatExit.done || exit === chatExit.failed) {
    const answer = [...messages.values()].findLast((message) => !message.isDeleted && message.parts.length > 0);
    const stream = exit === chatExit.done ? stdout : stderr;
    if (answer !== undefined) stream.write(`${answerText(answer, stream)}\n`);
  }
  return exit;
}

/** Follows the one turn that our message caused, or was taken into. */
class TurnTracker {
  /** The key of our message, once it is said. */
  key: string | undefined;
  approvalId: string | undefined;
  isWaiting = false;
  /** The agent asked something that takes more than a yes or no. */
  waitsForWords = false;
  outcome: 'done' | 'failed' | 'cancelled' | undefined;
  #turnId: string | undefined;
  /** Other turns that wait for approval. */
  readonly #waiting = new Map<string, TurnState>();
  readonly #isCommand: boolean;

  constructor(isCommand: boolean) {
    this.#isCommand = isCommand;
  }

  get mayEndWithoutTurn(): boolean {
    return this.#isCommand && this.#turnId === undefined && this.key !== undefined;
  }

  /** The turn that ours stands behind, when that one waits for approval. */
  get blocker(): TurnState | undefined {
    return this.#turnId === undefined && !this.#isCommand ? this.#waiting.values().next().value : undefined;
  }

  take(turn: TurnState): void {
    if (this.key === undefined || !this.#isOurs(turn)) {
      if (turn.state === 'waiting' && turn.waitingFor === 'approval') this.#waiting.set(turn.turnId, turn);
      else this.#waiting.delete(turn.turnId);
      return;
    }
    this.#turnId = turn.turnId;
    this.isWaiting = turn.state === 'waiting' && (turn.waitingFor ?? 'approval') !== 'timer';
    if (turn.state === 'waiting') this.approvalId = turn.approvalId;
    this.waitsForWords = turn.waitingFor === 'person';
    if (turn.state === 'absorbed') this.#turnId = turn.intoTurnId;
    else if (turn.state === 'done' || turn.state === 'failed' || turn.state === 'cancelled') this.outcome = turn.state;
  }

  #isOurs(turn: TurnState): boolean {
    if (turn.messageId !== undefined && turn.messageId === this.key) return true;
    if (this.#turnId !== undefined) return turn.turnId === this.#turnId;
    // A turn that does not say what caused it: the first one after our message is taken for ours.
    return turn.messageId === undefined;
  }
}

function findCard(messages: ReadonlyMap<string, ChatMessage>): Card | undefined {
  return [...messages.values()].map(toCard).findLast((card) => card !== undefined);
}

function answerText(message: ChatMessage, stream: ChatOptions['stdout']): string {
  if (stream.isTTY === true) return renderParts(message.parts, { paint: painter(stream) });
  // For another program: the Markdown as it was written.
  return message.parts
    .map((part) => {
      if (part.type === 'markdown' || part.type === 'notice') return cleanText(part.markdown);
      return part.type === 'code' ? cleanText(part.text) : renderParts([part], { paint: painter(stream) });
    })
    .filter((text) => text !== '')
    .join('\n');
}

/** Colours where the stream is a terminal that has them and NO_COLOR is not set. */
export function painter(stream: ChatOptions['stdout']): Paint {
  return (format, text) => (text === '' ? '' : styleText(format, text, { stream, validateStream: true }));
}
