import { spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Log } from '#core/kit/log.ts';
import type { SandboxPort } from '#workers/sandbox/sandbox.ts';

export interface PrepareSandboxDeps {
  readonly sandboxes: Pick<SandboxPort, 'check'>;
  readonly log: Log;
  readonly installDir: string;
  /** Tells the person at the terminal. */
  readonly print: (text: string) => void;
}

/**
 * Makes sure that agents have hands: a missing image is built beside everything else, because a newcomer should not
 * have to know that there is one. Without an engine the rest works, and the mend is told.
 */
export async function prepareSandbox(deps: PrepareSandboxDeps, signal: AbortSignal): Promise<void> {
  const { sandboxes, log, print } = deps;
  const found = await sandboxes.check();
  if (found.ok) return;
  if (found.missing !== 'image') {
    print(`Sandbox: ${found.detail} ${found.mend ?? ''} Everything else works without it.`);
    return;
  }
  print('Sandbox: building the image agents work in (once, about a minute). Chat works meanwhile.');
  const failure = await build(deps, signal);
  if (signal.aborted) return;
  if (failure === undefined) {
    log.info('sandbox image built');
    print('Sandbox: ready.');
    return;
  }
  log.warn({ failure }, 'sandbox image could not be built');
  print(`Sandbox: the image could not be built: ${failure} Try ./switchyard sandbox build to see why.`);
}

/** @returns the last words of a build that failed. */
async function build({ installDir, log }: PrepareSandboxDeps, signal: AbortSignal): Promise<string | undefined> {
  const child = spawn(path.join(installDir, 'sandbox-image/build'), [], {
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
