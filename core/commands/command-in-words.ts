import { commandList } from './command-list.ts';

/** Commands that stand alone: `@bot stop`, but not "@bot stop the server". */
const alone = new Set(
  commandList.filter(({ options }) => options?.some(({ isRequired }) => isRequired) !== true).map(({ name }) => name),
);
/** Commands with one short argument: more words are a sentence. */
const withOne = new Set(['use', 'queue', 'costs', 'revoke']);
/** Never read from words, only as `@bot /continue`: without the slash they are what one says to an agent. */
const slashOnly = new Set([
  'announce',
  'continue',
  'link',
  'unlink',
  'pair',
  'allow',
  'remove',
  'role',
  'secret',
  'help',
]);

/**
 * The command a message to the bot means that is written in words: `@bot run the tests`, `@bot status`. Slash commands
 * do not work in the threads of some platforms. @returns undefined for a message to an agent.
 */
export function commandInWords(text: string): { readonly name: string; readonly args: string } | undefined {
  const [, slash = '', word = '', rest = ''] = /^\s*(?:<@[\w-]+>\s*)?(\/?)([a-z]+)(?:\s+([\s\S]*))?$/i.exec(text) ?? [];
  const name = word.toLowerCase();
  if (!commandList.some((command) => command.name === name)) return undefined;
  const args = rest.trim();
  if (slash !== '') return { name, args };
  if (slashOnly.has(name)) return undefined;
  const words = args === '' ? 0 : args.split(/\s+/).length;
  if (name === 'run') return words > 0 ? { name, args } : undefined;
  if (words === 0) return alone.has(name) ? { name, args } : undefined;
  if (name === 'approve' || name === 'deny') {
    return /^(?:all$|[0-9a-f][0-9a-f-]{3,35}(?:\s|$))/i.test(args) ? { name, args } : undefined;
  }
  return withOne.has(name) && words === 1 ? { name, args } : undefined;
}
