import { formatDuration } from '#core/kit/duration.ts';
import type { ExecResult, JobOutput, JobStatus } from '../sandbox/sandbox.ts';
import { outputCharactersMax, plainOutput, truncateMiddle } from './tool-output.ts';

/** Longest a background command may run. */
export const jobSecondsMax = 14_400;
/** Bytes of a job's output read at once. */
export const jobOutputBytesMax = outputCharactersMax;
const commandCharsMax = 120;

/** A job and what it wrote, as a model reads it. */
export function describeJob(seen: JobOutput, askedOffset = seen.offset): string {
  const { status, text, offset, nextOffset } = seen;
  const lost = offset > askedOffset ? `[${offset - askedOffset} bytes before this were dropped]\n` : '';
  const shown = truncateMiddle(plainOutput(text).trimEnd());
  const more = nextOffset < status.outputBytes ? `, ${status.outputBytes - nextOffset} bytes more to read` : '';
  return `${stateOf(status)}; next offset ${nextOffset}${more}.\n${lost}${shown === '' ? '(no output)' : shown}${nearLine(seen)}`;
}

/** Warns before the kernel ends something: a model can then do with less, or save what it has. */
export function nearLine({ nearLimits }: Pick<ExecResult, 'nearLimits'>): string {
  return nearLimits === undefined ? '' : `\n[The sandbox is near its limits: ${nearLimits}.]`;
}

/** One line about a job. */
export function describeStatus(status: JobStatus): string {
  const command = status.command.replaceAll(/\s+/g, ' ');
  const short = command.length > commandCharsMax ? `${command.slice(0, commandCharsMax - 1)}…` : command;
  return `${stateOf(status)}, ${status.outputBytes} bytes of output: ${plainOutput(short)}`;
}

function stateOf(status: JobStatus): string {
  const time = formatDuration(Math.max(1000, status.runMs));
  if (status.state === 'running') return `${status.id} runs since ${time}`;
  switch (status.ended) {
    case 'timeout':
      return `${status.id} was stopped at its timeout after ${time}`;
    case 'cancelled':
      return `${status.id} was stopped after ${time}`;
    default:
      return `${status.id} ended with exit code ${status.exitCode ?? 'unknown'} after ${time}`;
  }
}
