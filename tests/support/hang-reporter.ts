import { readdirSync, readFileSync } from 'node:fs';
import type { Reporter, TestCase, TestModule } from 'vitest/node';

/** Several times what the slowest file takes on a slow machine. */
const hungMs = Number(process.env['TEST_HANG_MS'] ?? 900_000);

/**
 * Time limits of tests do not cover everything: the import of a file, a process that does not answer. A file that takes
 * too long is named together with the test it is at, and its process is ended, so that the run ends and fails.
 */
export class HangReporter implements Reporter {
  readonly #running = new Map<string, { readonly since: number; test: string }>();
  #timer: NodeJS.Timeout | undefined;

  onTestRunStart(): void {
    this.#timer = setInterval(() => this.#look(), Math.min(5000, hungMs / 4)).unref();
  }

  onTestModuleQueued(module: TestModule): void {
    this.#running.set(module.moduleId, { since: Date.now(), test: 'its import' });
  }

  onTestCaseReady(test: TestCase): void {
    const running = this.#running.get(test.module.moduleId);
    if (running !== undefined) running.test = `"${test.fullName}"`;
  }

  onTestModuleEnd(module: TestModule): void {
    this.#running.delete(module.moduleId);
  }

  onTestRunEnd(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    for (const [file, { since, test }] of this.#running) {
      if (Date.now() - since < hungMs) continue;
      this.#running.delete(file);
      process.stderr.write(`\n${file} hangs at ${test}; its process is ended.\n`);
      for (const { pid, state } of testProcesses()) {
        process.stderr.write(`test process ${pid} is in state ${state}\n`);
        process.kill(pid, 'SIGKILL');
      }
    }
  }
}

/** The processes that run test files below this one, from the proc file system; none where there is none. */
function testProcesses(): { readonly pid: number; readonly state: string }[] {
  try {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((name) => {
        try {
          const stat = /\) (\S) (\d+) /.exec(readFileSync(`/proc/${name}/stat`, 'utf8'));
          const command = readFileSync(`/proc/${name}/cmdline`, 'utf8');
          const isTestProcess = Number(stat?.[2]) === process.pid && command.includes('workers/forks');
          return isTestProcess ? [{ pid: Number(name), state: stat?.[1] ?? '?' }] : [];
        } catch {
          return [];
        }
      });
  } catch {
    return [];
  }
}
