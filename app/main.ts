import { runProgram } from '#cli/run-program.ts';
import { wireCli } from './cli-wiring.ts';
import { hasDebugOutput } from './config.ts';
import { redactErrors } from './redact-terminal.ts';
import { stopSignal } from './stop-signal.ts';

/** Runs one command line over this process's terminal. @returns the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  // A reader that has seen enough (`| head`) closes the pipe; that is no failure.
  process.stdout.on('error', (err: NodeJS.ErrnoException) => process.exit(err.code === 'EPIPE' ? 0 : 1));
  const terminal = {
    stdout: process.stdout,
    stderr: redactErrors(process.stderr),
    hasColour: process.stdout.hasColors?.() ?? false,
  };
  return await runProgram(wireCli(terminal, stopSignal()), argv, { showStack: hasDebugOutput() });
}
