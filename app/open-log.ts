import { mkdirSync, renameSync, statSync } from 'node:fs';
import path from 'node:path';
import { destination, multistream, pino } from 'pino';
import type { Log } from '#core/kit/log.ts';
import type { Redactor } from '#core/redaction/redactor.ts';
import type { Config } from './config.ts';

/** A log file is moved to `.1` at the next start once it is this long; with one predecessor kept, twice this on disk. */
const logBytesMax = 20 * 2 ** 20;

/**
 * JSON lines. Services write them to standard output. At a terminal the lines would drown what a person is to read, so
 * there they go to a file, and only warnings and errors are shown as text on standard error. Every line goes past the
 * redactor as it is written, whichever field a secret is in.
 */
export function openLog(
  config: Pick<Config, 'logLevel' | 'dataDir'>,
  target: 'stdout' | 'file',
  redactor: Redactor,
): Log {
  const base = { level: config.logLevel, base: { pid: process.pid } };
  if (target === 'stdout') return pino(base, past(redactor, destination({ dest: 1, sync: false, minLength: 0 })));
  const file = logFile(config);
  mkdirSync(path.dirname(file), { recursive: true });
  rotate(file);
  const people = {
    write: (line: string): void => {
      const { msg, err } = JSON.parse(line) as { msg?: string; err?: { message?: string } };
      process.stderr.write(`${msg ?? ''}${err?.message === undefined ? '' : `: ${err.message}`}\n`);
    },
  };
  return pino(
    base,
    multistream([
      { level: 'trace', stream: past(redactor, destination({ dest: file, append: true, sync: false })) },
      { level: 'warn', stream: past(redactor, people) },
    ]),
  );
}

function past(redactor: Redactor, stream: { write(line: string): unknown }): { write(line: string): void } {
  return {
    write: (line) => {
      stream.write(redacted(redactor, line));
    },
  };
}

/** The line as JSON, with its line break. */
function redacted(redactor: Redactor, line: string): string {
  const text = redactor.jsonText(line);
  return text === line ? line : `${text}\n`;
}

function logFile(config: Pick<Config, 'dataDir'>): string {
  return path.join(config.dataDir, 'switchyard.log');
}

function rotate(file: string): void {
  try {
    if (statSync(file).size > logBytesMax) renameSync(file, `${file}.1`);
  } catch {
    // There is none yet.
  }
}
