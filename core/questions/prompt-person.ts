import type { Db, Tx } from '../kit/database.ts';
import { newId, newToken, sha256 } from '../kit/ids.ts';
import { putMessages } from '../outbox/put-messages.ts';
import type { Conversation } from '../sessions/origin.ts';
import type { Awaited, Prompt, PromptSubject } from './prompt.ts';
import {
  expireSecretPrompts,
  insertPrompt,
  isSecretPrompt,
  prunePrompts,
  selectAwaited,
  setPromptLine,
  usePrompt,
} from './prompt-store.ts';

/** A form is open as long as somebody needs to find the words. */
const formMs = 30 * 60_000;
/** After this long, the next message in a private chat is taken for what it is. */
const lineMs = 5 * 60_000;

/** A prompt whose token a form is opened with. */
export interface OpenPrompt {
  readonly id: string;
  readonly token: string;
}

/** Prepares to ask a person for words. The form's token works once and for this person only. */
export async function openPrompt(
  tx: Tx,
  prompt: { readonly personId: string; readonly threadKey: string; readonly subject: PromptSubject },
): Promise<OpenPrompt> {
  const token = newToken();
  const id = newId();
  await insertPrompt(tx, { ...prompt, id, tokenHash: hashPromptToken(token), validMs: formMs });
  return { id, token };
}

/** Asks by a line instead of a form: a reply to it counts, and in private the next message within five minutes. */
export async function promptByLine(
  tx: Tx,
  prompt: Pick<OpenPrompt, 'id'>,
  line: { readonly conversation: Conversation; readonly markdown: string; readonly mention: string },
): Promise<void> {
  const key = `prompt:${prompt.id}`;
  await setPromptLine(tx, prompt.id, key, lineMs);
  const isDm = line.conversation.kind === 'dm';
  await putMessages(tx, [
    {
      key,
      conversation: line.conversation,
      importance: 'approval',
      body: {
        parts: [{ type: 'notice', level: 'question', markdown: line.markdown }],
        asksReply: true,
        ...(isDm ? {} : { mentions: [line.mention] }),
      },
    },
  ]);
}

/** What the words of a submitted form are for. */
export async function useForm(tx: Tx, token: string, personId: string): Promise<Prompt | undefined> {
  return await usePrompt(tx, { tokenHash: hashPromptToken(token) }, personId);
}

/** What the words of a message that answers a line are for. */
export async function useLine(tx: Tx, promptId: string, personId: string): Promise<Prompt | undefined> {
  return await usePrompt(tx, { id: promptId }, personId);
}

/** Whether the words of a form or of an answer to a line are the value of a secret. */
export async function asksForSecret(
  db: Db,
  which: { readonly token: string } | { readonly promptId: string },
): Promise<boolean> {
  return await isSecretPrompt(
    db,
    'token' in which ? { tokenHash: hashPromptToken(which.token) } : { id: which.promptId },
  );
}

/** Takes the next message of a person for what it is, when they were asked for a secret before. */
export async function callOffSecrets(tx: Tx, personId: string): Promise<void> {
  await expireSecretPrompts(tx, personId);
}

/** What a message may be the answer to; undefined for one that is simply a message. */
export async function findAwaited(db: Db, message: Parameters<typeof selectAwaited>[1]): Promise<Awaited | undefined> {
  return await selectAwaited(db, message);
}

/** Forgets prompts that nobody can answer any more. */
export async function forgetPrompts(deps: { readonly db: Db }): Promise<void> {
  await prunePrompts(deps.db);
}

function hashPromptToken(token: string): string {
  return sha256(`prompt-token:${token}`);
}
