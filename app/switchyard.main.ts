import { runProgram } from '#cli/run-program.ts';
import { wireCli } from './cli-wiring.ts';
import { hasDebugOutput } from './config.ts';
import { stopSignal } from './stop-signal.ts';

// A reader that has seen enough (`| head`) closes the pipe; that is no failure.
process.stdout.on('error', (err: NodeJS.ErrnoException) => process.exit(err.code === 'EPIPE' ? 0 : 1));

const terminal = { stdout: process.stdout, stderr: process.stderr, hasColour: process.stdout.hasColors?.() ?? false };
const deps = wireCli(terminal, stopSignal());
process.exitCode = await runProgram(deps, process.argv.slice(2), { showStack: hasDebugOutput() });
// A connection that nobody waits for any more must not keep a finished process alive.
setTimeout(() => process.exit(), 2000).unref();
