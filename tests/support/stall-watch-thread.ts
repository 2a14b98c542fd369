import { writeSync } from 'node:fs';
import { type Debugger, Session } from 'node:inspector';
import { setTimeout as delay } from 'node:timers/promises';
import { workerData } from 'node:worker_threads';

/** Longer than any command a test waits for synchronously, such as the build of an image. */
const stalledMs = Number(process.env['TEST_STALL_MS'] ?? 240_000);
const lookMs = Math.min(5000, stalledMs / 4);
/** A loop that never ends is stopped by the debugger within this time; code that waits in the system is not. */
const pauseMs = 5000;
const stepsMax = 300;

const beat = workerData as Int32Array;

let seen = -1;
let stillMs = 0;
while (stillMs < stalledMs) {
  await delay(lookMs);
  const now = Atomics.load(beat, 0);
  stillMs = now === seen ? stillMs + lookMs : 0;
  seen = now;
}
writeSync(
  2,
  `\nThe event loop of test process ${process.pid} has been blocked for ${stillMs} ms, at:\n${await whereIsIt()}\n`,
);
process.kill(process.pid, 'SIGKILL');

/** The stack at the first stop, and the places it comes by in the next steps: a loop shows itself only in motion. */
async function whereIsIt(): Promise<string> {
  const session = new Session();
  session.connectToMainThread();
  const scripts = new Map<string, string>();
  let stopped = Promise.withResolvers<readonly Debugger.CallFrame[]>();
  session.on('Debugger.scriptParsed', ({ params }) => scripts.set(params.scriptId, params.url));
  session.on('Debugger.paused', ({ params }) => stopped.resolve(params.callFrames));
  session.post('Debugger.enable');
  const places = new Set<string>();
  const deadline = Date.now() + pauseMs;
  for (let step = 0; step < stepsMax && Date.now() < deadline; step++) {
    session.post(step === 0 ? 'Debugger.pause' : 'Debugger.stepInto');
    const frames = (await Promise.race([stopped.promise, delay(pauseMs, [])])).slice(0, step === 0 ? 30 : 1);
    stopped = Promise.withResolvers();
    for (const { functionName, location } of frames) {
      const name = functionName === '' ? '(anonymous)' : functionName;
      places.add(`  ${name} ${scripts.get(location.scriptId) ?? '?'}:${location.lineNumber + 1}`);
    }
  }
  return places.size === 0 ? '  (code outside of JavaScript)' : [...places].join('\n');
}
