import { replyMessage } from '../commands/command.ts';
import type { Db } from '../kit/database.ts';
import { putMessages } from '../outbox/put-messages.ts';
import type { InboundEvent } from './inbound.ts';
import { forgetRaw, markEvent } from './inbox-store.ts';

/**
 * Does nothing with a message that holds a credential: it must not reach a model, a log or a sandbox, and we forget it
 * ourselves. The platform still shows it to everyone there, so its author is told what to do.
 */
export async function refuseSecret(
  db: Db,
  said: { readonly inboxId: string; readonly event: InboundEvent },
  what: string,
): Promise<void> {
  await db.transaction().execute(async (tx) => {
    if (!(await markEvent(tx, said.inboxId, 'routed'))) return;
    await forgetRaw(tx, said.inboxId);
    await putMessages(tx, [
      replyMessage(said, {
        level: 'warn',
        markdown: `That looks like ${what}, so I did not read it and kept nothing of it. Delete your message, and replace the key: whoever can see this chat has seen it. Keys for agents belong in the vault: \`/secret set\`, or \`./switchyard vault set\` at the terminal.`,
      }),
    ]);
  });
}
