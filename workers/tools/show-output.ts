import { formatDuration } from '#core/kit/duration.ts';
import type { ToolContext } from './tool.ts';
import { plainOutput } from './tool-output.ts';

/** Shortest time between two states, and longest silence: a command that says nothing must not look dead. */
const intervalMs = 1_000;
const silenceMs = 5_000;
/** Only the last line is shown, so no more than this is looked at. */
const tailCharsMax = 2_000;

/**
 * Shows in the thread where running work is: how long it runs and its last line, at most once a second. Only lines that
 * are whole: what is redacted on the way to the thread must not come in halves.
 */
export function showOutput(context: Pick<ToolContext, 'progress'>): { push(chunk: string): void } & Disposable {
  const startedAt = Date.now();
  let tail = '';
  let isCut = false;
  let shownAt = startedAt;
  let isChanged = false;
  const show = (): void => {
    const now = Date.now();
    if (now - shownAt < (isChanged ? intervalMs : silenceMs)) return;
    shownAt = now;
    isChanged = false;
    const line = lastLine(tail, isCut);
    const time = formatDuration(now - startedAt);
    context.progress(line === undefined ? `${time}\n` : `${time}: ${line}\n`);
  };
  const timer = setInterval(show, intervalMs / 2);
  timer.unref();
  return {
    push: (chunk) => {
      const all = tail + chunk;
      if (all.length > tailCharsMax) isCut = true;
      tail = all.slice(-tailCharsMax);
      isChanged = true;
      show();
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

function lastLine(tail: string, isCut: boolean): string | undefined {
  const lines = plainOutput(tail)
    .split('\n')
    .slice(isCut ? 1 : 0, -1);
  return lines.findLast((line) => line.trim() !== '')?.trim();
}
