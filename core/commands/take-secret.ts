import { endEvent } from '../inbox/end-event.ts';
import { forgetEvent } from '../inbox/forget-event.ts';
import type { KnownEvent } from '../inbox/known-event.ts';
import type { Tx } from '../kit/database.ts';
import { isAppError } from '../kit/errors.ts';
import { putMessages } from '../outbox/put-messages.ts';
import { isAdministrator } from '../people/person.ts';
import type { Prompt } from '../questions/prompt.ts';
import { asksForSecret, useForm, useLine } from '../questions/prompt-person.ts';
import { type SetOutcome, setSecret } from '../vault/set-secret.ts';
import { wordsField } from './ask-for-words.ts';
import { awaitedBy } from './awaited-by.ts';
import { replyMessage } from './command.ts';
import type { CommandDeps } from './command-deps.ts';

type SecretDeps = Pick<CommandDeps, 'db' | 'kek' | 'deleteMessage'>;

interface Taken {
  readonly text: string;
  readonly level: 'info' | 'warn';
}

/**
 * Takes the value of a secret that was asked for, by a form or by a message. It goes from here into the vault and
 * nowhere else: no turn, no record of the event, no answer has it.
 */
export function createTakeSecret(deps: SecretDeps): (known: KnownEvent) => Promise<boolean> {
  return async (known) => {
    const { event, person } = known;
    if (event.type === 'form') {
      if (!(await asksForSecret(deps.db, { token: event.token }))) return false;
      const use = async (tx: Tx) => await useForm(tx, event.token, person.id);
      await keep(deps, known, use, event.values[wordsField] ?? '');
      return true;
    }
    if (event.type !== 'message') return false;
    const awaited = await awaitedBy(deps.db, known);
    if (awaited?.kind === 'ended') return true;
    return awaited?.kind === 'prompt' && (await keepIfSecret(deps, known, awaited));
  };
}

/** Takes a message that answers a prompt, if that asks for a secret. @returns false for any other prompt. */
export async function keepIfSecret(
  deps: SecretDeps,
  known: KnownEvent,
  { promptId }: { readonly promptId: string },
): Promise<boolean> {
  const { event, person } = known;
  if (event.type !== 'message' || !(await asksForSecret(deps.db, { promptId }))) return false;
  await keep(deps, known, async (tx) => await useLine(tx, promptId, person.id), plain(event.text));
  return true;
}

async function keep(
  deps: SecretDeps,
  known: KnownEvent,
  use: (tx: Tx) => Promise<Prompt | undefined>,
  value: string,
): Promise<void> {
  const taken = await keepOrSayWhy(deps, known, use, value);
  if (taken === undefined || known.event.type !== 'message') return;
  const isDeleted = await deps.deleteMessage(known.event);
  // Said only now, and over the first words: whether it worked is known after the value is safe.
  if (isDeleted) await putMessages(deps.db, [reply(known, taken, 'I deleted your message.')]);
}

/** @returns undefined when the event had ended before. */
async function keepOrSayWhy(
  deps: SecretDeps,
  known: KnownEvent,
  use: (tx: Tx) => Promise<Prompt | undefined>,
  value: string,
): Promise<Taken | undefined> {
  const end = async (work: (tx: Tx, prompt: Prompt | undefined) => Promise<Taken>): Promise<Taken | undefined> =>
    await deps.db.transaction().execute(async (tx) => {
      if (!(await endEvent(tx, known.inboxId, 'routed'))) return undefined;
      await forgetEvent(tx, known.inboxId);
      const taken = await work(tx, await use(tx));
      const still = known.event.type === 'message' ? 'Delete your message now: I cannot do that here.' : '';
      await putMessages(tx, [reply(known, taken, still)]);
      return taken;
    });
  try {
    return await end(async (tx, prompt) => {
      if (prompt === undefined || !('secret' in prompt.subject)) {
        return { text: 'That is not asked any more, so I kept nothing of it.', level: 'warn' };
      }
      if (!isAdministrator(known.person.role))
        return { text: 'Only an owner or admin can keep secrets.', level: 'warn' };
      const { name, agents, hosts } = prompt.subject.secret;
      const secret = {
        name,
        value,
        ...(agents === undefined ? {} : { agents }),
        ...(hosts === undefined ? {} : { hosts }),
      };
      const by = { personId: known.person.id, via: 'chat' } as const;
      return { text: describeKept(await setSecret({ tx, kek: deps.kek }, secret, by)), level: 'info' };
    });
  } catch (err) {
    if (!isAppError(err) || !err.isForChat) throw err;
    // What was begun is undone; the event ends all the same, or the value would be tried and kept again and again.
    return await end(async () => ({ text: `${err.text} Send \`/secret set\` again for another try.`, level: 'warn' }));
  }
}

function reply(known: KnownEvent, { text, level }: Taken, more: string) {
  return replyMessage(known, { markdown: `${text} ${more}`.trim(), level });
}

function describeKept({ name, version, agents, hosts }: SetOutcome): string {
  const kept = `I keep **${name}**, version ${version}.`;
  if (agents.length > 0 && hosts.length > 0) {
    return `${kept} ${agents.join(', ')} may use it at ${hosts.join(', ')}.`;
  }
  return `${kept} Nobody may use it yet: \`./switchyard vault scope ${name}\` says which agents and hosts.`;
}

/** A value that was sent as code comes with the marks of code around it. */
function plain(text: string): string {
  const value = text.trim();
  const [, , block] = /^(`{3,})\w*\n([\s\S]*?)\n?\1$/.exec(value) ?? [];
  const [, , inline] = /^(`{1,2})([^`]+)\1$/.exec(value) ?? [];
  return (block ?? inline ?? value).trim();
}
