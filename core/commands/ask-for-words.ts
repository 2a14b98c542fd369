import type { KnownEvent } from '../inbox/known-event.ts';
import { type OpenPrompt, promptByLine } from '../questions/prompt-person.ts';
import type { CommandDeps, FormRequest } from './command-deps.ts';

/** The one field of a form for words. */
export const wordsField = 'words';

/**
 * Asks whoever pressed for words: in a form where there can be one now, otherwise by a line they reply to. Called after
 * the commit of the prompt: the platforms give a form a few seconds only.
 */
export async function askForWords(
  deps: Pick<CommandDeps, 'db' | 'openForm' | 'acknowledge'>,
  known: KnownEvent,
  prompt: OpenPrompt,
  words: {
    readonly title: string;
    readonly submitLabel: string;
    readonly label: string;
    readonly charsMax: number;
    readonly isRequired: boolean;
    /** What the line says where there is no form. */
    readonly line: string;
  },
): Promise<void> {
  const { event } = known;
  const form: FormRequest = {
    token: prompt.token,
    title: words.title,
    submitLabel: words.submitLabel,
    fields: [
      {
        name: wordsField,
        label: words.label,
        isLong: true,
        isRequired: words.isRequired,
        charsMax: words.charsMax,
      },
    ],
  };
  if (await deps.openForm(event, form)) return;
  await deps.db.transaction().execute(async (tx) => {
    await promptByLine(tx, prompt, {
      conversation: event.conversation,
      markdown: words.line,
      mention: event.actor.externalId,
    });
  });
  await deps.acknowledge(event, 'Tell me in a reply.', false);
}
