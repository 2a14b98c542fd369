import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { ExitCode } from './exit-code.ts';

/** Somebody at a terminal who can be asked. */
export interface Questions extends Disposable {
  /** The answer without blanks at its ends; `otherwise` when it is empty. @throws ExitCode 130 when they leave. */
  ask(question: string, otherwise: string): Promise<string>;
  /** The same for a key: what is typed or pasted is not shown. Empty when nothing was entered. */
  secret(question: string): Promise<string>;
}

/** Asks line by line; Ctrl-C, Ctrl-D and the signal end the command without an answer. */
export function openQuestions(options: {
  readonly stdin: NodeJS.ReadableStream;
  readonly stdout: NodeJS.WritableStream;
  readonly signal: AbortSignal;
}): Questions {
  let isHidden = false;
  const output = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      if (!isHidden) options.stdout.write(chunk);
      done();
    },
  });
  // The width tells where a long answer wraps.
  if ('columns' in options.stdout) Object.assign(output, { columns: options.stdout.columns });
  const line = createInterface({ input: options.stdin, output, terminal: true });
  const leave = new AbortController();
  const signal = AbortSignal.any([options.signal, leave.signal]);
  // A terminal in raw mode sends Ctrl-C as a key: no signal reaches the process.
  line.on('SIGINT', () => leave.abort());
  line.on('close', () => leave.abort());
  const ask = async (question: string): Promise<string> => {
    try {
      return (await line.question(question, { signal })).trim();
    } catch (err) {
      if (!signal.aborted) throw err;
      options.stdout.write('\n');
      throw new ExitCode(130);
    }
  };
  return {
    ask: async (question, otherwise) => (await ask(question)) || otherwise,
    secret: async (question) => {
      options.stdout.write(question);
      isHidden = true;
      try {
        return await ask('');
      } finally {
        isHidden = false;
        options.stdout.write('\n');
      }
    },
    [Symbol.dispose]: () => line.close(),
  };
}
