import { forgetEvent } from '../inbox/forget-event.ts';
import type { KnownEvent } from '../inbox/known-event.ts';
import type { Tx } from '../kit/database.ts';
import { formatDuration } from '../kit/duration.ts';
import { AppError } from '../kit/errors.ts';
import { isAdministrator } from '../people/person.ts';
import { callOffSecrets, openPrompt } from '../questions/prompt-person.ts';
import { listSecrets } from '../vault/list-secrets.ts';
import { removeSecret } from '../vault/remove-secret.ts';
import { checkScope, isName, type SecretSummary } from '../vault/secret.ts';
import { askForWords } from './ask-for-words.ts';
import type { Command, CommandReply } from './command.ts';
import type { CommandDeps } from './command-deps.ts';

/** Forms of every platform take at least this much; a key file is set at the terminal. */
const valueCharsMax = 3_000;

/** `/secret`: what there is, keeping one, removing one. A value is never an argument: platforms show those. */
export function secretCommands(deps: CommandDeps): Record<string, Command> {
  return {
    secret: async (tx, known, args, afterCommit) => {
      const [first = 'list', second = '', ...rest] = args.split(/\s+/).filter((word) => word !== '');
      const what = first.toLowerCase();
      const name = second.toLowerCase();
      const scope = readScope(rest);
      // Whatever else is said may be the value: it goes before anything is answered to it.
      if (scope === undefined || (what === 'list' ? name !== '' : !takesName(what) || !isName(name))) {
        await forgetEvent(tx, known.inboxId);
        afterCommit(async () => void (await deps.deleteMessage(known.event)));
        return refuseWords(known);
      }
      if (!isAdministrator(known.person.role)) {
        throw new AppError('grant.missing', 'Only an owner or admin can see and keep secrets.', {
          mend: 'Ask one of them.',
        });
      }
      if (known.event.conversation.kind !== 'dm') {
        return { level: 'warn', markdown: 'Not here, where others read along. Send me `/secret` in private.' };
      }
      // Whoever was asked for a value and sends another command has changed their mind.
      await callOffSecrets(tx, known.person.id);
      switch (what) {
        case 'set':
          return await ask(deps, tx, known, { name, ...scope }, afterCommit);
        case 'remove':
          await removeSecret(tx, name, { personId: known.person.id, via: 'chat' });
          return {
            markdown: `I forgot **${name}**. Revoke it where it was issued, if it is not needed any more.`,
          };
        default:
          return { markdown: describe(await listSecrets(deps.db)) };
      }
    },
  };
}

function takesName(what: string): boolean {
  return what === 'set' || what === 'remove';
}

function refuseWords(known: KnownEvent): CommandReply {
  const isDm = known.event.conversation.kind === 'dm';
  return {
    level: 'warn',
    markdown: `Write \`/secret\`, \`/secret set name agent:name host:api.example.org\` or \`/secret remove name\`${isDm ? '' : ', in private'}. A value is never part of a command, because the platform shows it: if you wrote one, replace it where it was issued, and delete your message. I ask for the value.`,
  };
}

/** `agent:a,b host:c` in any order. @returns undefined when there is anything else. */
function readScope(words: readonly string[]): { readonly agents?: string[]; readonly hosts?: string[] } | undefined {
  const found: { agents?: string[]; hosts?: string[] } = {};
  for (const word of words) {
    const [, kind, list = ''] = /^(agent|host)s?:(\S+)$/i.exec(word) ?? [];
    if (kind === undefined) return undefined;
    const key = kind.toLowerCase() === 'agent' ? 'agents' : 'hosts';
    found[key] = [...(found[key] ?? []), ...list.split(',').filter((item) => item !== '')];
  }
  return found;
}

async function ask(
  deps: CommandDeps,
  tx: Tx,
  known: KnownEvent,
  secret: { readonly name: string; readonly agents?: string[]; readonly hosts?: string[] },
  afterCommit: (work: () => Promise<void>) => void,
): Promise<CommandReply> {
  checkScope({ agents: secret.agents ?? [], hosts: secret.hosts ?? [] });
  const prompt = await openPrompt(tx, {
    personId: known.person.id,
    threadKey: known.thread.threadKey,
    subject: { secret },
  });
  afterCommit(async () => {
    await askForWords(deps, known, prompt, {
      title: `Keep ${secret.name}`.slice(0, 45),
      submitLabel: 'Keep',
      label: 'The value; nobody reads it again',
      charsMax: valueCharsMax,
      isRequired: true,
      line: `Send me the value of **${secret.name}** as your next message, within five minutes. I keep it sealed and show it to nobody. \`/secret\` calls this off.`,
    });
  });
  return undefined;
}

function describe(secrets: readonly SecretSummary[]): string {
  if (secrets.length === 0)
    return 'I keep no secrets. `/secret set name agent:name host:api.example.org` asks for one.';
  const now = Date.now();
  const lines = secrets.map((secret) => {
    const who =
      secret.agents.length === 0 || secret.hosts.length === 0
        ? 'nobody may use it'
        : `${secret.agents.join(', ')} at ${secret.hosts.join(', ')}`;
    const used =
      secret.lastUsedAt === undefined ? 'never used' : `used ${formatDuration(now - secret.lastUsedAt.getTime())} ago`;
    return `- **${secret.name}** version ${secret.version}, ${formatDuration(now - secret.setAt.getTime())} old: ${who}; ${used}`;
  });
  return lines.join('\n');
}
