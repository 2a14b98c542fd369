import { PassThrough, Writable } from 'node:stream';
import xterm from '@xterm/headless';
import type { ChatInput, ChatOutput } from '#cli/chat/chat-options.ts';

/** A terminal a test can type into and look at: what it shows is what a person would see. */
export interface FakeTerminal {
  readonly stdin: ChatInput;
  readonly stdout: ChatOutput;
  type(text: string): void;
  /** Everything on the screen and above it, without trailing blanks. */
  text(): string;
  /** What was written, byte for byte. */
  raw(): string;
  readonly isRawMode: boolean;
}

export function openFakeTerminal(columns = 80, rows = 24): FakeTerminal {
  const terminal = new xterm.Terminal({
    cols: columns,
    rows,
    scrollback: 5_000,
    convertEol: true,
    allowProposedApi: true,
  });
  let written = '';
  let isRawMode = false;
  const stdin = Object.assign(new PassThrough(), {
    isTTY: true,
    setRawMode: (isRaw: boolean) => {
      isRawMode = isRaw;
    },
  });
  const stdout = Object.assign(
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        written += chunk.toString();
        terminal.write(chunk.toString(), () => done());
      },
    }),
    { isTTY: true, columns, rows },
  );
  return {
    stdin,
    stdout,
    type: (text) => void stdin.write(text),
    text() {
      const { buffer } = { buffer: terminal.buffer.active };
      const lines = Array.from(
        { length: buffer.length },
        (_, row) => buffer.getLine(row)?.translateToString(true) ?? '',
      );
      return lines.join('\n').trimEnd();
    },
    raw: () => written,
    get isRawMode() {
      return isRawMode;
    },
  };
}

/** A stream that keeps what is written to it, for a standard output that is not a terminal. */
export function openSink(): { readonly stream: ChatOutput; text(): string } {
  let written = '';
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      written += chunk.toString();
      done();
    },
  });
  return { stream, text: () => written };
}
