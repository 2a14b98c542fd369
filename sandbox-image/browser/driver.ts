/**
 * Runs in the browser's container and drives the browser for the worker: commands come in as lines of JSON on standard
 * input, answers go out on standard output, one command at a time. It ends with its input, and with its browser.
 */
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import type { DriverFailed, DriverReply, DriverRequest } from '../../workers/browser/driver-protocol.ts';
import { BrowserHost } from './browser-host.ts';
import { carryOut, type Outcome } from './carry-out.ts';
import { CommandError } from './command-error.ts';

/** After this long without an answer to a cancel, the page is closed. */
const graceMs = 1_500;
const messageCharsMax = 2_000;

const { values } = parseArgs({
  options: {
    program: { type: 'string', default: '/usr/lib/chromium/chromium-headless-shell' },
    proxy: { type: 'string', default: 'http://127.0.0.1:3128' },
    folder: { type: 'string', default: '/workspace' },
  },
});

// The browser starts while the first command is still on its way.
const starting = BrowserHost.start(values);
starting.then(
  (host) => host.onGone(() => process.exit(3)),
  (err: unknown) => {
    process.stderr.write(`${String(err).slice(0, 4_000)}\n`);
    process.exit(2);
  },
);
say({ ready: true });

const running = new Map<number, AbortController>();
let line = Promise.resolve();
const input = createInterface({ input: process.stdin });
input.on('line', (text) => {
  // The worker is trusted here: it is the side that does not believe the other.
  const request = JSON.parse(text) as DriverRequest;
  if ('cancel' in request) {
    running.get(request.cancel)?.abort();
    return;
  }
  const control = new AbortController();
  running.set(request.id, control);
  line = line.then(async () => {
    say(await answer(request, control.signal));
    running.delete(request.id);
  });
});
input.on('close', () => process.exit(0));

type CommandRequest = Exclude<DriverRequest, { readonly cancel: number }>;

async function answer({ id, command, timeoutMs, onHost }: CommandRequest, cancel: AbortSignal): Promise<DriverReply> {
  const host = await starting;
  const signal = AbortSignal.any([cancel, AbortSignal.timeout(timeoutMs)]);
  const before = host.hasPage ? host.page.url() : '';
  let result: Outcome | CommandError;
  try {
    if (onHost !== undefined && URL.parse(before)?.host !== onHost) {
      throw new CommandError('refused', `The page is not on ${onHost} any more. Read it before you go on.`);
    }
    result = await withGrace(host, carryOut(host, command, signal), signal);
  } catch (err) {
    result = toCommandError(err, signal, timeoutMs);
    if (signal.aborted) await host.dropIfStuck();
  }
  const page = await host.state();
  const notices = [...host.takeNotices()];
  if (result instanceof CommandError) {
    const failed: DriverFailed = {
      id,
      ok: false,
      kind: result.kind,
      message: result.message.slice(0, messageCharsMax).toWellFormed(),
      page,
      notices,
    };
    return failed;
  }
  const now = host.hasPage ? host.page.url() : '';
  return { id, ok: true, ...result, hasMoved: now !== before, page, notices };
}

/** A page that does not even let go after a cancel is closed, so that the session can go on with others. */
async function withGrace<T>(host: BrowserHost, work: Promise<T>, signal: AbortSignal): Promise<T> {
  const stuck = Promise.withResolvers<never>();
  let timer: NodeJS.Timeout | undefined;
  const give = () => {
    timer = setTimeout(() => {
      if (host.hasPage) host.drop(host.page);
      stuck.reject(new CommandError('timeout', 'The page did not respond and was closed.'));
    }, graceMs);
  };
  signal.addEventListener('abort', give, { once: true });
  try {
    return await Promise.race([work, stuck.promise]);
  } finally {
    signal.removeEventListener('abort', give);
    clearTimeout(timer);
    // What is still going on has nobody left to hear of it.
    work.catch(() => undefined);
  }
}

function toCommandError(err: unknown, signal: AbortSignal, timeoutMs: number): CommandError {
  if (err instanceof CommandError) return err;
  if (signal.aborted)
    return new CommandError('timeout', `It did not end in ${Math.round(timeoutMs / 1000)} s and was stopped.`);
  const text = err instanceof Error ? err.message : String(err);
  return new CommandError('failed', (text.split('\n')[0] ?? '').slice(0, 400));
}

function say(reply: DriverReply): void {
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}
