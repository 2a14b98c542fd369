import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { z } from 'zod';
import { FileChannel } from '#bots/file/file-channel.ts';
import { fileConversation } from '#bots/file/file-raw.ts';
import { systemClock } from '#core/kit/clock.ts';
import { outboundPartSchema } from '#core/outbox/outbound.ts';
import { describeChannel, type VisibleMessage } from '#tests/support/channel-contract.ts';
import { openTestDatabase } from '#tests/support/database.ts';
import { seeParts } from '#tests/support/see-parts.ts';

const conversation = fileConversation({ room: 'main' });
const lineSchema = z.looseObject({
  type: z.string(),
  id: z.string(),
  parts: z.array(z.record(z.string(), z.unknown())).optional(),
});

describeChannel('file', ['edits', 'deletes', 'buttons', 'files'], async () => {
  const database = await openTestDatabase();
  const folder = mkdtempSync(path.join(tmpdir(), 'sw-file-'));
  const channel = new FileChannel({ db: database.db, log: pino({ level: 'silent' }), clock: systemClock, folder });
  const write = async (line: object): Promise<void> => {
    appendFileSync(path.join(folder, 'in.jsonl'), `${JSON.stringify(line)}\n`, { mode: 0o600 });
  };
  return {
    channel,
    conversation,
    says: (text) => write({ type: 'message', text }),
    presses: (token) => write({ type: 'action', token }),
    async visible() {
      const log = path.join(folder, 'out.jsonl');
      const messages = new Map<string, VisibleMessage>();
      for (const text of existsSync(log) ? readFileSync(log, 'utf8').split('\n') : []) {
        if (text === '') continue;
        const line = lineSchema.parse(JSON.parse(text));
        if (line.type === 'delete') messages.delete(line.id);
        else if (line.parts !== undefined)
          messages.set(
            line.id,
            seeParts(
              line.id,
              line.parts.map((part) => toPart(folder, part)),
            ),
          );
      }
      return [...messages.values()];
    },
    failures: {},
    [Symbol.asyncDispose]: async () => {
      await database[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    },
  };
});

function toPart(folder: string, part: Record<string, unknown>) {
  const dataBase64 =
    typeof part['path'] === 'string' ? readFileSync(path.join(folder, part['path'])).toString('base64') : undefined;
  return outboundPartSchema.parse({ ...part, dataBase64 });
}
