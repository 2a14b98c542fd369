import { lookup } from 'node:dns';
import type { LookupFunction } from 'node:net';

/** The system resolves names on the few threads that also do the process's file work; two may be taken for this. */
const runningMax = 2;
const waitingMax = 256;
/** Longest a name is waited for; its thread may be busy for longer. */
const timeoutMs = 8_000;

let running = 0;
const waiting: (() => void)[] = [];

/**
 * The system's name look-up, a few at a time. Names of strangers may be answered slowly on purpose, and must not keep
 * this process from its files.
 */
export const limitedLookup: LookupFunction = (hostname, options, callback) => {
  let isAnswered = false;
  const answer: typeof callback = (err, address, family) => {
    if (isAnswered) return;
    isAnswered = true;
    clearTimeout(timer);
    callback(err, address, family);
  };
  const timer = setTimeout(() => answer(failure(hostname, 'EAI_AGAIN'), '', 0), timeoutMs);
  const start = (): void => {
    // Nobody waits for it any more.
    if (isAnswered) {
      next();
      return;
    }
    running += 1;
    lookup(hostname, options, (err, address, family) => {
      running -= 1;
      next();
      answer(err, address, family);
    });
  };
  if (running < runningMax) start();
  else if (waiting.length < waitingMax) waiting.push(start);
  else answer(failure(hostname, 'EAI_AGAIN'), '', 0);
};

function next(): void {
  waiting.shift()?.();
}

function failure(hostname: string, code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${hostname} could not be resolved in time`), { code });
}
