import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { isAppError, toAppError } from '#core/kit/errors.ts';
import { newId } from '#core/kit/ids.ts';
import { addressAgent } from './address-agent.ts';
import { painter } from './ask-once.ts';
import { type ChatOptions, chatExit } from './chat-options.ts';
import { cleanLine, cleanText } from './clean-text.ts';
import type { ConsoleClient } from './console-client.ts';
import { Screen } from './screen.ts';
import { Transcript } from './transcript.ts';

/** Wider rows are hard to read. */
const proseColumnsMax = 100;
const historyRowsMax = 10;
const historyLinesMax = 500;
/** Two interrupts within this time leave the chat. */
const interruptMs = 2_000;
/** A card that appears while someone writes waits for Tab: a letter meant for a word must not approve anything. */
const typingMs = 1_500;
const localCommands = ['/quit', '/save'];

/** The dialogue in a terminal. @returns the exit code. */
export async function converse(client: ConsoleClient, options: ChatOptions): Promise<number> {
  const paint = painter(options.stdout);
  const leave = new AbortController();
  const signal = AbortSignal.any([options.signal, leave.signal]);
  const past = await client.history(historyRowsMax);
  const commands = (await client.commands()).map(({ name }) => `/${name}`);
  const writePrompt = `${paint(['bold', 'green'], options.user)} › `;
  let interruptedAt = 0;
  let typedAt = 0;
  let isAnswering = false;

  using screen = new Screen({
    stdin: options.stdin,
    stdout: options.stdout,
    history: await readLines(options.historyFile),
    complete: (line) =>
      line.startsWith('/') ? [...commands, ...localCommands].filter((command) => command.startsWith(line)) : [],
    onLine: (text) => void onLine(text.trim()).catch(tell),
    onKey: (key) => onKey(key),
    onInterrupt: () => onInterrupt(),
    onEnd: () => leave.abort(),
  });
  const transcript = new Transcript({
    screen,
    paint,
    columns: () => Math.min(options.stdout.columns ?? 80, proseColumnsMax) - 1,
  });

  const tell = (err: unknown): void => {
    if (!signal.aborted) screen.print(paint('red', cleanText(toAppError(err).text)));
  };

  const say = async (text: string): Promise<void> => {
    const key = newId();
    // Before it is sent: its echo may be here sooner than the answer to the request.
    transcript.expectOwn(key);
    await client.say(key, text, signal);
  };

  /** Puts the keys of the open card into the prompt, or the prompt for writing back. */
  const showPrompt = (): void => {
    const card = transcript.openCard;
    if (card === undefined) isAnswering = false;
    const keys = [...(card?.keys.keys() ?? [])].join('/');
    screen.setPrompt(
      isAnswering ? `${paint('bold', `[${keys}]`)} answers, ${paint('bold', '[Tab]')} to write › ` : writePrompt,
    );
  };

  /** Asks for an answer at once when nobody is writing, else by a hint. */
  const offerCard = (): void => {
    const isOpen = transcript.openCard !== undefined;
    isAnswering = isOpen && !screen.hasText && Date.now() - typedAt > typingMs;
    if (isOpen) options.stdout.write('\u0007');
    if (isOpen && !isAnswering) {
      screen.print(paint('dim', `${screen.hasText ? 'Finish your line, then press' : 'Press'} Tab to answer.`));
    }
    showPrompt();
  };

  const press = async (key: string): Promise<void> => {
    const card = transcript.openCard;
    const token = card?.keys.get(key);
    if (card === undefined || token === undefined) return;
    transcript.closeCard(card.messageId);
    // A key that is pressed twice must not answer the next request unread.
    isAnswering = false;
    showPrompt();
    screen.print(paint('dim', `→ ${cleanLine(card.labels.get(key) ?? key)}`));
    if (transcript.openCard !== undefined) screen.print(paint('dim', 'Another request is open: press Tab to answer.'));
    await client.press(token, card.messageId, signal);
  };

  const onKey = (key: string): boolean => {
    const card = transcript.openCard;
    if (card === undefined || (screen.hasText && !isAnswering)) {
      typedAt = Date.now();
      return false;
    }
    if (key === '\t') {
      isAnswering = !isAnswering;
      showPrompt();
      return true;
    }
    if (!isAnswering) {
      typedAt = Date.now();
      return false;
    }
    // Ctrl-C and Ctrl-D mean what they always mean; whatever is no answer is ignored.
    if (key === '\u0003' || key === '\u0004') return false;
    void press(key.toLowerCase()).catch(tell);
    return true;
  };

  const onInterrupt = (): void => {
    const isSecond = Date.now() - interruptedAt < interruptMs;
    interruptedAt = Date.now();
    if (isSecond) leave.abort();
    else if (screen.hasText) screen.clearLine();
    else if (transcript.isBusy) {
      screen.print(paint('dim', 'Stopping … (Ctrl-C again to leave)'));
      say('/stop').catch(tell);
    } else screen.print(paint('dim', 'Ctrl-C again to leave, or /quit.'));
  };

  const onLine = async (text: string): Promise<void> => {
    // The line is done: what comes now does not come into somebody's writing.
    typedAt = 0;
    if (text === '') return;
    if (text === '/quit' || text === '/exit') {
      leave.abort();
      return;
    }
    if (/^\/save(\s|$)/.test(text)) {
      screen.print(await saveFile(client, transcript, text));
      return;
    }
    await say(addressAgent(text, options.agent));
  };

  screen.print(paint('dim', `Room ${options.room}. /help lists commands, Ctrl-C stops work, /quit leaves.`));
  for (const message of past.messages) transcript.take({ type: 'message', message });
  transcript.take({ type: 'ready' });

  let exit: number = chatExit.done;
  try {
    for await (const event of client.follow(past.change, signal)) {
      const before = transcript.openCard?.messageId;
      transcript.take(event);
      // The prompt says that somebody listens.
      if (transcript.openCard?.messageId !== before || event.type === 'ready') offerCard();
    }
  } catch (err) {
    if (!signal.aborted) throw isAppError(err) ? err : toAppError(err);
  } finally {
    if (options.signal.aborted) exit = chatExit.interrupted;
    await writeLines(options.historyFile, screen.history);
  }
  return exit;
}

/** `/save <number> [name]`: writes a file of the conversation into the working directory; never over another one. */
async function saveFile(client: ConsoleClient, transcript: Transcript, command: string): Promise<string> {
  const [, number = '', ...words] = command.split(/\s+/);
  const file = transcript.files[Number(number) - 1];
  if (file === undefined) return 'Say which file: /save 1';
  // The name came from outside: only its last part, nothing hidden.
  const offered = path.basename(cleanText(file.name).replaceAll('\\', '/')).replace(/^\.+/, '') || 'file';
  const target = path.resolve(words.join(' ') || offered);
  try {
    await writeFile(target, await client.file(file.messageId, file.index), { flag: 'wx' });
    return `Saved as ${target}`;
  } catch (err) {
    if (err instanceof Error && 'code' in err && err.code === 'EEXIST') return `${target} exists: give another name.`;
    throw err;
  }
}

async function readLines(file: string | undefined): Promise<string[]> {
  if (file === undefined) return [];
  const text = await readFile(file, 'utf8').catch(() => '');
  return text.split('\n').filter((line) => line !== '');
}

async function writeLines(file: string | undefined, lines: readonly string[]): Promise<void> {
  if (file === undefined) return;
  const kept = lines.slice(0, historyLinesMax).map((line) => `${line}\n`);
  // Losing the history is not worth an error at the end of a good chat.
  await writeFile(file, kept.join(''), { mode: 0o600 }).catch(() => undefined);
}
