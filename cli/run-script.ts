import { spawn } from 'node:child_process';
import { ExitCode } from './exit-code.ts';

/**
 * Runs a program of the checkout in this terminal and waits for it.
 * @throws ExitCode with its exit code, or 128 + 15 when a signal ended it.
 */
export async function runScript(file: string, args: readonly string[], cwd: string): Promise<void> {
  const child = spawn(file, args, { cwd, stdio: 'inherit' });
  const code = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (exitCode) => resolve(exitCode ?? 143));
  });
  if (code !== 0) throw new ExitCode(code);
}
