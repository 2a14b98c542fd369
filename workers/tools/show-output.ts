import { formatDuration } from '#core/kit/duration.ts';
import type { ToolContext } from './tool.ts';
import { plainOutput } from './tool-output.ts';

/** Shortest time between two states, and longest silence: a command that says nothing must not look dead. */
const intervalMs = 1_000;
const silenceMs = 5_000;
/** Only the last line is shown, so no more than this is looked at. */
const tailCharsMax = 2_000;

/** Shows in the thread where running work is: how long it runs and its last line, at most once a second. */
export function showOutput(context: Pick<ToolContext, 'progress'>): { push(chunk: string): void } & Disposable {
  const startedAt = Date.now();
  let tail = '';
  let shownAt = startedAt;
  let isChanged = false;
  const show = (): void => {
    const now = Date.now();
    if (now - shownAt < (isChanged ? intervalMs : silenceMs)) return;
    shownAt = now;
    isChanged = false;
    const line = plainOutput(tail).trimEnd().split('\n').at(-1)?.trim() ?? '';
    context.progress(line === '' ? formatDuration(now - startedAt) : `${formatDuration(now - startedAt)}: ${line}`);
  };
  const timer = setInterval(show, intervalMs / 2);
  timer.unref();
  return {
    push: (chunk) => {
      tail = (tail + chunk).slice(-tailCharsMax);
      isChanged = true;
      show();
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}
