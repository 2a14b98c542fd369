import { expect } from 'vitest';
import { ensureOperator } from '#core/people/ensure-operator.ts';
import { chooseQueueMode } from '#core/sessions/change-thread.ts';
import { openThread } from '#core/sessions/open-thread.ts';
import type { ScriptedReply } from '../fakes/model-server.ts';
import { answerRecords, type FakeWire } from '../fakes/model-wires.ts';
import { Product, type ProductOptions } from './product.ts';

type BrainRequest = { readonly wire: FakeWire; readonly body: Record<string, unknown> };

/** The agent of the crash tests: its hands need no container, and one tool leaves a countable trace in each session. */
export const clerk = {
  name: 'assistant',
  frontMatter: `tools: [exec, memory_save]
autonomy: autonomous
grants:
  - allow: tool.exec
  - allow: memory.*`,
};

/**
 * Answers every text with a word of its own: `save <name>` through a call of memory_save, `exec <name>: <command>`
 * through exec, `slow …` word by word in two seconds, `endless …` half and then never an end, but at once when it is asked
 * again, anything else at once. What is answered always carries the whole text, so that answers can be matched.
 */
export function clerkBrain(): (request: BrainRequest) => ScriptedReply {
  const begun = new Set<string>();
  return ({ wire, body }) => {
    const { text, result } = lastExchange((body['messages'] ?? body['input'] ?? []) as Record<string, unknown>[]);
    if (result !== undefined) return { text: `[${text}] ${result}`, delayMs: 5 };
    const [, name, command] = /^exec (\S+): ([\s\S]+)$/.exec(text) ?? [];
    if (name !== undefined && command !== undefined) return { toolCalls: [{ name: 'exec', arguments: { command } }] };
    if (text.startsWith('save ')) return { toolCalls: [{ name: 'memory_save', arguments: { text } }] };
    if (text.startsWith('slow ')) return { text: `[${text}] ${'word '.repeat(40)}`, delayMs: 60 };
    if (text.startsWith('endless ')) {
      const answer = { text: `[${text}] ${'word '.repeat(100)}` };
      if (begun.has(text)) return answer;
      begun.add(text);
      const records = answerRecords(wire, answer, String(body['model']), { input: 100, output: 20, cacheRead: 0 });
      return { raw: { steps: [records.slice(0, -4).join('')], end: 'hang' } };
    }
    return { text: `[${text}] noted`, delayMs: 5 };
  };
}

/** The last text of a person, and the result of a tool that was called since. */
function lastExchange(items: readonly Record<string, unknown>[]): { text: string; result: string | undefined } {
  let result: string | undefined;
  for (const item of items.toReversed()) {
    if (item['type'] === 'function_call_output' || item['role'] === 'tool') {
      result ??= flatten(item['output'] ?? item['content']);
    } else if (item['role'] === 'user') return { text: flatten(item['content']), result };
  }
  return { text: '', result };
}

function flatten(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return (content as Record<string, unknown>[]).map((part) => String(part['text'] ?? '')).join('');
}

/** Long enough for a busy machine; every wait is for a condition. */
export const patienceMs = 60_000;

/** A product whose people are known already and whose threads answer one message after the other; nothing runs yet. */
export async function prepareCrew(
  chats: readonly number[],
  options: Pick<ProductOptions, 'env'> & { readonly budget?: string } = {},
): Promise<Product> {
  const { budget = '', ...rest } = options;
  const agents = [{ ...clerk, frontMatter: `${clerk.frontMatter}\n${budget}` }];
  const product = await Product.prepare({ agents, script: clerkBrain(), ...rest });
  const { db } = product.database;
  const [account = ''] = product.telegram.token.split(':');
  for (const chat of chats) {
    const conversation = { channel: 'telegram', account, room: String(chat), kind: 'dm' as const };
    await ensureOperator(db, { channel: 'telegram', account, externalId: String(chat), displayName: `Person ${chat}` });
    await chooseQueueMode(db, (await openThread(db, conversation)).threadKey, 'followup');
  }
  return product;
}

/** How a process with an armed failpoint ended. @throws when it lives on. */
export async function death(product: Product, mode: 'gateway' | 'worker'): Promise<string> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`the ${mode} did not die\n${tail(product)}`)), patienceMs);
  try {
    return await Promise.race([product.ended(mode), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function tail(product: Product): string {
  return product.output.slice(-3000);
}

/** Waits until nothing is on its way any more: no update, no event, no turn, no message. */
export async function settled(product: Product, timeoutMs = patienceMs): Promise<void> {
  await until(product, timeoutMs, async () => {
    // An update the gateway has not confirmed may not even be stored.
    if (product.telegram.updates.pending > 0) return { updates: product.telegram.updates.pending };
    const [row] = await product.database.query<Record<string, number>>(`
      select (select count(*)::int from inbox where state = 'pending') as inbox,
             (select count(*)::int from turn where state in ('queued', 'running')) as turns,
             (select count(*)::int from outbox where state in ('pending', 'sending')) as outbox`);
    return Object.values(row ?? {}).every((count) => count === 0) ? true : row;
  });
}

/** Asks until the answer is `true`; anything else is what the failure shows. */
export async function until(product: Product, timeoutMs: number, ask: () => Promise<unknown>): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer === true) return;
    if (performance.now() > deadline) {
      throw new Error(`not so within ${timeoutMs} ms: ${JSON.stringify(answer)}\n${tail(product)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The texts of the bot's answers in a chat, in the order they appear. */
export function answersIn(product: Product, chat: number): string[] {
  return product.telegram.said(chat).flatMap((message) => /^\[([^\]]+)\]/.exec(message.text)?.slice(1) ?? []);
}

/**
 * What must hold whatever crashed: each message became one turn, in the order it was sent, all done; each fact was
 * saved once; nothing was delivered twice.
 */
export async function expectNothingLostOrDoubled(
  product: Product,
  sent: ReadonlyMap<number, readonly string[]>,
): Promise<void> {
  for (const [chat, texts] of sent) {
    const turns = await product.database.query<{ text: string; state: string }>(
      `select t.payload ->> 'text' as text, t.state from turn t join session s on s.id = t.session_id
       where s.thread_key like $1 order by t.seq`,
      [`%:${chat}:-`],
    );
    expect(turns).toEqual(texts.map((text) => ({ text, state: 'done' })));
    const events = await product.database.query<{ text: string }>(
      `select e.payload ->> 'text' as text from event e join session s on s.id = e.session_id
       where s.thread_key like $1 and e.kind = 'user_message' order by e.seq`,
      [`%:${chat}:-`],
    );
    expect(events.map((event) => event.text)).toEqual(texts);
    const answers = answersIn(product, chat);
    expect(answers).toEqual([...new Set(answers)]);
    expect(answers).toEqual(texts.filter((text) => answers.includes(text)));
  }
  const saved = await product.database.query<{ text: string }>('select text from memory_fact order by text');
  const wanted = [...sent.values()].flat().filter((text) => text.startsWith('save '));
  expect(saved.map((row) => row.text)).toEqual(wanted.sort());
}
