import { spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Log } from '#core/kit/log.ts';
import type { SandboxKind, SandboxPort } from '#workers/sandbox/sandbox.ts';

export interface PrepareSandboxDeps {
  readonly sandboxes: Pick<SandboxPort, 'check'>;
  readonly log: Log;
  readonly installDir: string;
  /** Whether any agent has the browser. */
  readonly needsBrowser: boolean;
  /** Tells the person at the terminal. */
  readonly print: (text: string) => void;
}

const words: Readonly<Record<SandboxKind, { readonly begin: string; readonly end: string; readonly mend: string }>> = {
  core: {
    begin: 'Sandbox: building the image agents work in (once, about a minute). Chat works meanwhile.',
    end: 'Sandbox: ready.',
    mend: './switchyard sandbox build',
  },
  browser: {
    begin: 'Sandbox: building the image of the browser (once, about a minute). Everything else works meanwhile.',
    end: 'Sandbox: the browser is ready.',
    mend: './switchyard sandbox build --browser',
  },
};

/**
 * Makes sure that agents have hands: a missing image is built beside everything else, because a newcomer should not
 * have to know that there is one. Without an engine the rest works, and the mend is told.
 */
export async function prepareSandbox(deps: PrepareSandboxDeps, signal: AbortSignal): Promise<void> {
  if (!(await prepare(deps, 'core', signal)) || !deps.needsBrowser) return;
  await prepare(deps, 'browser', signal);
}

/** @returns whether there is an engine that could have more. */
async function prepare(deps: PrepareSandboxDeps, kind: SandboxKind, signal: AbortSignal): Promise<boolean> {
  const { sandboxes, log, print } = deps;
  const { begin, end, mend } = words[kind];
  const found = await sandboxes.check(kind);
  if (found.ok) return true;
  if (found.missing !== 'image') {
    print(`Sandbox: ${found.detail} ${found.mend ?? ''} Everything else works without it.`);
    return false;
  }
  print(begin);
  const failure = await build(deps, kind, signal);
  if (signal.aborted) return false;
  if (failure === undefined) {
    log.info({ kind }, 'sandbox image built');
    print(end);
    return true;
  }
  log.warn({ kind, failure }, 'sandbox image could not be built');
  print(`Sandbox: the image could not be built: ${failure} Try ${mend} to see why.`);
  return false;
}

/** @returns the last words of a build that failed. */
async function build(
  { installDir, log }: PrepareSandboxDeps,
  kind: SandboxKind,
  signal: AbortSignal,
): Promise<string | undefined> {
  const child = spawn(path.join(installDir, 'sandbox-image/build'), kind === 'browser' ? ['--browser'] : [], {
    cwd: installDir,
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
  });
  let last = '';
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      if (line.trim() !== '') last = line.trim();
      log.debug({ line }, 'sandbox image build');
    });
  }
  return await new Promise((resolve) => {
    child.once('error', (err) => resolve(err.message));
    child.once('close', (code) => resolve(code === 0 ? undefined : last));
  });
}
