import { createInterface } from 'node:readline/promises';
import { ExitCode } from './exit-code.ts';

/** Somebody at a terminal who can be asked. */
export interface Questions extends Disposable {
  /** The answer without blanks at its ends; `otherwise` when it is empty. @throws ExitCode 130 when they leave. */
  ask(question: string, otherwise: string): Promise<string>;
}

/** Asks line by line; Ctrl-C, Ctrl-D and the signal end the command without an answer. */
export function openQuestions(options: {
  readonly stdin: NodeJS.ReadableStream;
  readonly stdout: NodeJS.WritableStream;
  readonly signal: AbortSignal;
}): Questions {
  const line = createInterface({ input: options.stdin, output: options.stdout, terminal: true });
  const leave = new AbortController();
  const signal = AbortSignal.any([options.signal, leave.signal]);
  // A terminal in raw mode sends Ctrl-C as a key: no signal reaches the process.
  line.on('SIGINT', () => leave.abort());
  line.on('close', () => leave.abort());
  return {
    ask: async (question, otherwise) => {
      try {
        const answer = await line.question(question, { signal });
        return answer.trim() || otherwise;
      } catch (err) {
        if (!signal.aborted) throw err;
        options.stdout.write('\n');
        throw new ExitCode(130);
      }
    },
    [Symbol.dispose]: () => line.close(),
  };
}
