import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import type { Log } from '#core/kit/log.ts';
import { type Hook, hookMs } from './hook.ts';
import { type HookNewsKind, hookNewsKinds } from './hook-news.ts';
import { HookThread, pongMs } from './hook-thread.ts';
import { shownNews } from './show-news.ts';
import type { HookCall, HookTurn, TurnHookEvent } from './turn-hooks.ts';
import type { FoundHook, UserEvent } from './user-hook-wire.ts';

/** Longest text a hook may put in the place of another. */
const textMax = 200_000;

const verdictSchema = z
  .discriminatedUnion('action', [
    z.object({ action: z.literal('continue') }),
    z.object({ action: z.literal('block'), reason: z.string().max(2_000) }),
    z.object({ action: z.literal('modify'), value: z.record(z.string(), z.unknown()) }),
  ])
  .optional();
const outputSchema = z
  .discriminatedUnion('action', [
    z.object({ action: z.literal('continue') }),
    z.object({ action: z.literal('block'), reason: z.string().max(2_000) }),
    z.object({
      action: z.literal('modify'),
      value: z.object({ text: z.string().max(textMax).optional(), isError: z.boolean().optional() }),
    }),
  ])
  .optional();
const sectionsSchema = z
  .array(z.object({ title: z.string().min(1).max(200), text: z.string().max(32_768) }))
  .max(20)
  .optional();

/** The hooks of a project, and the thread they run in. */
export interface UserHooks extends AsyncDisposable {
  readonly hooks: readonly Hook[];
}

/**
 * The files hooks are read from: `<folder>.ts` and every `*.ts`, `*.mts`, `*.js`, `*.mjs` in the folder, by name.
 * @param folder such as `/project/hooks`; neither need exist.
 */
export async function findHookFiles(folder: string): Promise<readonly string[]> {
  const single = [`${folder}.ts`, `${folder}.mts`, `${folder}.js`, `${folder}.mjs`].filter((file) => existsSync(file));
  const names = await readdir(folder).catch((err: unknown) => {
    if (err instanceof Error && 'code' in err && (err.code === 'ENOENT' || err.code === 'ENOTDIR')) return [];
    throw err;
  });
  const inside = names.filter((name) => /^[^.].*\.m?[jt]s$/.test(name) && !/\.(?:test|d)\.m?[jt]s$/.test(name)).sort();
  return [...single, ...inside.map((name) => path.join(folder, name))];
}

/**
 * Loads a project's hooks in a thread of their own: one that computes for ever is ended with its thread, which then starts
 * anew; one that ends the process ends the thread only. They are trusted like the settings: the thread bounds mistakes,
 * not malice.
 * @throws AppError `hook.invalid` with every problem as `file:line:column message`.
 */
export async function openUserHooks(
  deps: { readonly log: Log },
  options: { readonly files: readonly string[]; readonly timeoutMs?: number },
): Promise<UserHooks> {
  if (options.files.length === 0) return { hooks: [], [Symbol.asyncDispose]: async () => undefined };
  const thread = new HookThread(deps, options.files);
  const timeoutMs = options.timeoutMs ?? hookMs;
  const found = await thread.start();
  return {
    hooks: found.map((hook, index) =>
      toHook(
        hook,
        timeoutMs,
        async (event, values, signal) => await thread.call(index, event, values, { signal, timeoutMs }),
      ),
    ),
    [Symbol.asyncDispose]: async () => await thread[Symbol.asyncDispose](),
  };
}

type Ask = (event: UserEvent, values: readonly unknown[], signal: AbortSignal | undefined) => Promise<unknown>;

/** A found hook as one of ours. */
function toHook(found: FoundHook, timeoutMs: number, ask: Ask): Hook {
  const { name, priority, agents, file } = found;
  const has = (event: UserEvent): boolean => found.events.includes(event);
  const kinds: readonly HookNewsKind[] = hookNewsKinds.filter(has);
  return {
    name,
    priority,
    source: file,
    agents,
    // The thread keeps the time itself and knows then whether it still lives.
    timeoutMs: timeoutMs + 2 * pongMs,
    ...(has('before_tool')
      ? {
          beforeTool: async (call: HookCall, signal: AbortSignal) => {
            const verdict = verdictSchema.parse(await ask('before_tool', [callOf(call)], signal));
            if (verdict === undefined || verdict.action === 'continue') return { action: 'continue' as const };
            return verdict.action === 'block' ? verdict : { action: 'modify' as const, args: verdict.value };
          },
        }
      : {}),
    ...(has('after_tool')
      ? {
          afterTool: async (call, result, signal) => {
            const given = { text: result.text, isError: result.isError };
            const verdict = outputSchema.parse(await ask('after_tool', [callOf(call), given], signal));
            if (verdict === undefined || verdict.action === 'continue') return result;
            // What is withheld is withheld whole: pictures say the same.
            if (verdict.action === 'block') return { text: `Withheld: ${verdict.reason}`, isError: true };
            const { text = result.text, isError = result.isError } = verdict.value;
            return { ...result, text, isError };
          },
        }
      : {}),
    ...(has('inject_context')
      ? {
          context: async (turn, signal) =>
            sectionsSchema.parse(await ask('inject_context', [placeOf(turn)], signal)) ?? [],
        }
      : {}),
    ...(found.events.some((event) => event.startsWith('session_'))
      ? {
          turnEvent: async (event) => {
            const told = eventOf(event);
            if (told !== undefined && has(told)) {
              const code = event.kind === 'failed' ? event.code : undefined;
              await ask(told, [{ ...placeOf(event), event: told, code }], undefined);
            }
          },
        }
      : {}),
    ...(kinds.length > 0
      ? {
          news: {
            kinds,
            tell: async (news) => {
              await ask(news.kind, [{ ...placeOf(news), ...shownNews(news) }], undefined);
            },
          },
        }
      : {}),
  };
}

function eventOf(event: TurnHookEvent): UserEvent | undefined {
  switch (event.kind) {
    case 'started':
      return event.isNewSession ? 'session_created' : undefined;
    case 'idle':
      return 'session_idle';
    case 'failed':
      return 'session_error';
    case 'aborted':
      return 'session_aborted';
    case 'waiting':
      return undefined;
  }
}

function placeOf({ agent, work }: HookTurn) {
  const { sessionId, turnId, kind, origin } = work;
  return {
    agent: agent.name,
    session: sessionId,
    turn: turnId,
    kind,
    channel: origin.channel,
    room: origin.room,
    person: origin.personId,
  };
}

function callOf(call: HookCall) {
  return { ...placeOf(call), tool: call.tool, args: call.args, call: call.callKey };
}
