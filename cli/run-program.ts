import { CommanderError } from 'commander';
import { isAppError, toAppError } from '#core/kit/errors.ts';
import type { CliDeps } from './cli-deps.ts';
import { ExitCode } from './exit-code.ts';
import { buildProgram } from './program.ts';
import { paint } from './terminal.ts';

/**
 * Runs one command line and says how the process should end. What went wrong is one message and its mend, on standard
 * error; a stack is shown only for an error nobody classified, and with `showStack`.
 */
export async function runProgram(
  deps: CliDeps,
  argv: readonly string[],
  options: { readonly showStack: boolean },
): Promise<number> {
  try {
    await buildProgram(deps).parseAsync([...argv], { from: 'user' });
    return 0;
  } catch (err) {
    // Commander has written its own message, or the help somebody asked for.
    if (err instanceof CommanderError) return err.exitCode;
    if (err instanceof ExitCode) return err.code;
    const { terminal } = deps;
    const failure = toAppError(err);
    terminal.stderr.write(`${paint(terminal, 'red', failure.message)}\n`);
    if (failure.mend !== undefined) terminal.stderr.write(`${failure.mend}\n`);
    const isUnclassified = !isAppError(err);
    if (isUnclassified && !options.showStack) terminal.stderr.write('Run again with LOG_LEVEL=debug to see where.\n');
    if (options.showStack && err instanceof Error) terminal.stderr.write(`${stackOf(err)}\n`);
    return 1;
  }
}

function stackOf(err: Error): string {
  const own = err.stack ?? err.message;
  return err.cause instanceof Error ? `${own}\ncaused by ${stackOf(err.cause)}` : own;
}
