import { createHash } from 'node:crypto';
import { appendFile } from 'node:fs/promises';
import { defineHooks, type HookedCall, type SessionEvent } from 'switchyard/hooks';

/*
 * Writes one line of JSON for each tool call and each end of a session's turn, for a log collector of your own. The
 * product's own record, which cannot be changed unnoticed, is read with ./switchyard audit.
 */

// biome-ignore lint/style/noProcessEnv: a hook is configured by whoever runs it.
const file = process.env['AUDIT_LOG'] ?? new URL('./audit.jsonl', import.meta.url);

async function write(entry: object): Promise<void> {
  await appendFile(file, `${JSON.stringify({ at: new Date().toISOString(), ...entry })}\n`, { mode: 0o600 });
}

/** Arguments may hold what should stand in no log: a hash still tells whether two calls were the same. */
function fingerprint(call: HookedCall): string {
  return createHash('sha256').update(JSON.stringify(call.args)).digest('hex').slice(0, 16);
}

const onEvent = async ({ event, agent, session, turn, person, code }: SessionEvent): Promise<void> => {
  await write({ event, agent, session, turn, person, code });
};

export const hooks = defineHooks({
  name: 'audit-log',
  // Last, so that it sees what was really done and said.
  priority: 990,
  after_tool: async (call, { isError, text }) => {
    const { tool, agent, session, turn, person, channel } = call;
    const args = fingerprint(call);
    await write({ event: 'tool', tool, args, isError, chars: text.length, agent, session, turn, person, channel });
    return undefined;
  },
  session_created: onEvent,
  session_idle: onEvent,
  session_error: onEvent,
  session_aborted: onEvent,
});
