import { AppError } from '#core/kit/errors.ts';
import { askOnce } from './chat/ask-once.ts';
import { type ChatOptions, chatExit } from './chat/chat-options.ts';
import { consoleClient } from './chat/console-client.ts';
import { converse } from './chat/converse.ts';

/** Longest text the gateway takes, in bytes. */
const textBytesMax = 1_000_000;

/**
 * The terminal chat. With a terminal it is a dialogue; with `message`, or with text on standard input, it asks once.
 * @returns the exit code of the process.
 * @throws AppError when the gateway is away, does not know the token, or refuses the message.
 */
export async function runChat(options: ChatOptions): Promise<number> {
  const client = consoleClient({ ...options, room: toPlaceName(options.room) });
  if (options.message === undefined && options.stdin.isTTY === true && options.stdout.isTTY === true) {
    return await converse(client, options);
  }
  const text = options.message ?? (await readAll(options.stdin));
  if (text.trim() === '') {
    throw new AppError('command.invalid', 'There is nothing to say.', {
      mend: 'Give --message "…", or text on standard input.',
    });
  }
  if (Buffer.byteLength(text) > textBytesMax) throw tooLarge();
  return options.signal.aborted ? chatExit.interrupted : await askOnce(client, text, options);
}

/** User names of some systems hold what a room name may not. */
function toPlaceName(name: string): string {
  return name.replaceAll(/[^A-Za-z0-9._@-]/g, '_').slice(0, 64) || 'room';
}

async function readAll(stdin: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stdin) {
    const piece = Buffer.from(chunk);
    bytes += piece.length;
    if (bytes > textBytesMax) throw tooLarge();
    chunks.push(piece);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function tooLarge(): AppError {
  return new AppError('message.too_large', 'The text is over 1 MB.', { mend: 'Put it into a file of the workspace.' });
}
