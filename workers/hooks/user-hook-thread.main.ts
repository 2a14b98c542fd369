import { registerHooks } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import type { HookPlace, UserHook } from './define-hooks.ts';
import {
  type FoundHook,
  type FromThread,
  type ThreadData,
  type ToThread,
  type UserEvent,
  userEvents,
} from './user-hook-wire.ts';

/*
 * The thread a project's own hooks run in. It loads their files, says what it found, and calls them. It takes nothing of
 * the product with it but the two modules above, so that it starts within some ten milliseconds.
 */

const { files, helpers } = workerData as ThreadData;
const port = parentPort;
if (port === null) throw new Error('this file is the body of a thread');
const send = (message: FromThread): void => port.postMessage(message);

// A project needs no package for the one module its hooks import.
registerHooks({
  resolve: (specifier, context, next) =>
    specifier === 'switchyard/hooks' ? { url: helpers, shortCircuit: true } : next(specifier, context),
});

const hooks: UserHook[] = [];
const found: FoundHook[] = [];
const problems: string[] = [];
const running = new Map<number, AbortController>();

for (const file of files) {
  try {
    const loaded = (await import(pathToFileURL(file).href)) as Record<string, unknown>;
    const given = loaded['hooks'] ?? loaded['default'];
    if (given === undefined) problems.push(`${file}:1:1 exports neither "hooks" nor a default`);
    else for (const [index, hook] of (Array.isArray(given) ? given : [given]).entries()) take(file, index, hook);
  } catch (err) {
    problems.push(`${placeOf(err, file)} ${messageOf(err)}`);
  }
}
if (problems.length > 0) send({ kind: 'refused', problems });
else send({ kind: 'ready', hooks: found });

port.on('message', (message: ToThread) => {
  if (message.kind === 'ping') send({ kind: 'pong' });
  else if (message.kind === 'cut') running.get(message.id)?.abort();
  else void call(message);
});

async function call({ id, hook: index, event, values }: Extract<ToThread, { kind: 'call' }>): Promise<void> {
  const cut = new AbortController();
  running.set(id, cut);
  try {
    const hook = hooks[index];
    if (hook === undefined) throw new Error('there is no such hook');
    const [first, second] = values;
    const value: unknown = await invoke(hook, event, { ...(first as HookPlace), signal: cut.signal }, second);
    send({ kind: 'answer', id, value });
  } catch (err) {
    const stack = err instanceof Error ? (err.stack ?? '') : '';
    send({ kind: 'thrown', id, message: messageOf(err), stack });
  } finally {
    running.delete(id);
  }
}

function invoke(hook: UserHook, event: UserEvent, first: object, second: unknown): unknown {
  const work: unknown = hook[event];
  return typeof work === 'function' ? Reflect.apply(work, hook, [first, second]) : undefined;
}

/** Takes a hook in, or says what is wrong with it. */
function take(file: string, index: number, given: unknown): void {
  const at = `${file}:1:1 hook ${index + 1}`;
  if (typeof given !== 'object' || given === null) {
    problems.push(`${at} is no object`);
    return;
  }
  const hook = given as Record<string, unknown>;
  const { name, priority = 200, agents } = hook;
  const wrong: string[] = [];
  if (typeof name !== 'string' || !/^[a-z][a-z0-9-]{0,63}$/.test(name)) {
    wrong.push('needs a name of a-z, digits and hyphens');
  } else if (found.some((other) => other.name === name)) {
    wrong.push(`has the name "${name}" of another hook`);
  }
  const title = typeof name === 'string' ? ` "${name}"` : '';
  if (typeof priority !== 'number' || !Number.isFinite(priority)) wrong.push('has a priority that is no number');
  if (agents !== undefined && !(Array.isArray(agents) && agents.every((agent) => typeof agent === 'string'))) {
    wrong.push('has "agents" that are no list of names');
  }
  const known: readonly string[] = [...userEvents, 'name', 'priority', 'agents'];
  for (const key of Object.keys(hook)) if (!known.includes(key)) wrong.push(`has the unknown key "${key}"`);
  const events = userEvents.filter((event) => hook[event] !== undefined);
  for (const event of events) if (typeof hook[event] !== 'function') wrong.push(`has a ${event} that is no function`);
  if (events.length === 0) wrong.push(`takes part in nothing; it needs one of ${userEvents.join(', ')}`);
  problems.push(...wrong.map((what) => `${at}${title} ${what}`));
  if (wrong.length > 0) return;
  hooks.push(given as UserHook);
  found.push({
    name: String(name),
    priority: Number(priority),
    agents: agents === undefined ? undefined : (agents as readonly string[]),
    events,
    file,
  });
}

function messageOf(err: unknown): string {
  return (err instanceof Error ? err.message : String(err)).split('\n', 1)[0] ?? '';
}

/** `file:line:column` of the first place of a project's own in a stack; of the file itself when there is none. */
function placeOf(err: unknown, file: string): string {
  const stack = err instanceof Error ? (err.stack ?? '') : '';
  for (const [, place = '', line = '1', column = '1'] of stack.matchAll(
    /((?:file:\/\/)?\/[^\s():]+):(\d+)(?::(\d+))?/g,
  )) {
    const plain = place.startsWith('file:') ? fileURLToPath(place) : place;
    if (files.includes(plain)) return `${plain}:${line}:${column}`;
  }
  return `${file}:1:1`;
}
