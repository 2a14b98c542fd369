import { AppError } from '#core/kit/errors.ts';
import { toWellFormed } from '#core/kit/json.ts';
import type { AskToolbox } from './ask-toolbox.ts';
import { checkCommand } from './check-command.ts';
import { jobListBytesMax, parseJobList } from './job-list.ts';
import { refusedCommand, refusedJob, withRoom } from './refusals.ts';
import type { JobStatus, Sandbox } from './sandbox.ts';
import type { ToolboxDone } from './toolbox-protocol.ts';
import { wholeCharacters } from './whole-characters.ts';

/** Longest one `readJob` may wait. */
const waitMsMax = 600_000;
/** What a job may keep unread of its input; the toolbox's cap. */
const inputBytesMax = 256 << 10;
/** Most output of one answer. */
const outputBytesMax = 1 << 20;
/** The label that comes with an answer: 1 KiB at most. */
const labelBytes = 1024;
/** How long a stopped job may take to end; the toolbox ends everything before that. */
const stopMs = 3_000;

type Jobs = Pick<Sandbox, 'startJob' | 'readJob' | 'writeJob' | 'stopJob' | 'listJobs'>;

/**
 * The background commands of a session's container; the toolbox keeps them when its worker goes.
 * @param near which limits the container has come near to.
 */
export function createSessionJobs(ask: AskToolbox, near: () => Promise<string | undefined>): Jobs {
  return {
    startJob: async ({ command, workingDirectory = '/workspace', timeoutMs, signal }) => {
      checkCommand(command);
      const request = {
        op: 'jobStart',
        argv: ['bash', '-c', command],
        cwd: workingDirectory,
        timeoutMs: Math.ceil(timeoutMs),
        label: toWellFormed(command.slice(0, labelBytes / 4)),
      } as const;
      const { done } = await ask(request, { bytesMax: 0, signal, around: withRoom }).catch((err: unknown) => {
        throw refusedCommand(err, workingDirectory);
      });
      if (done.job === undefined) throw new AppError('sandbox.protocol', 'The sandbox gave a job no name.');
      return { id: `j${done.job}` };
    },

    readJob: async (id, { offset, bytesMax, waitMs, signal }) => {
      const bytes = Math.max(4, Math.trunc(Math.min(bytesMax, outputBytesMax)));
      const wait = Math.max(0, Math.trunc(Math.min(waitMs, waitMsMax)));
      const request = { op: 'jobRead', job: numberOf(id), offset, bytes, waitMs: wait } as const;
      const { done, body } = await ask(request, { bytesMax: bytes + labelBytes + 1, waitMs: wait, signal }).catch(
        (err: unknown) => {
          throw refusedJob(err, id);
        },
      );
      const gap = body.indexOf(0);
      if (gap < 0) throw new AppError('sandbox.protocol', `The sandbox said nothing of job ${id}.`);
      const output = body.subarray(gap + 1);
      const status = toStatus(done, body.subarray(0, gap).toString('utf8'));
      const from = done.offset ?? offset;
      // A character that the cut left incomplete is held back; the rest of it may still come.
      const mayGrow = status.state === 'running' || from + output.length < status.outputBytes;
      const kept = mayGrow ? wholeCharacters(output) : output.length;
      const nearLimits = await near();
      return {
        ...(nearLimits === undefined ? {} : { nearLimits }),
        status,
        text: toWellFormed(output.subarray(0, kept).toString('utf8')),
        offset: from,
        nextOffset: from + kept,
      };
    },

    writeJob: async (id, text, { end = false, signal }) => {
      const body = Buffer.from(text.toWellFormed());
      if (body.length > inputBytesMax) {
        throw new AppError('message.too_large', `The input has ${body.length} bytes; a job takes ${inputBytesMax}.`, {
          mend: 'Send it in parts.',
        });
      }
      await ask({ op: 'jobWrite', job: numberOf(id), end }, { body, bytesMax: 0, signal }).catch((err: unknown) => {
        throw refusedJob(err, id);
      });
    },

    stopJob: async (id, signal) => {
      const request = { op: 'jobStop', job: numberOf(id), waitMs: stopMs } as const;
      const { done, body } = await ask(request, { bytesMax: labelBytes + 1, waitMs: stopMs, signal }).catch(
        (err: unknown) => {
          throw refusedJob(err, id);
        },
      );
      return toStatus(done, body.subarray(0, Math.max(0, body.indexOf(0))).toString('utf8'));
    },

    listJobs: async (signal) =>
      parseJobList((await ask({ op: 'jobList' }, { bytesMax: jobListBytesMax, signal })).body),
  };
}

/** The toolbox's number of a job; 0, which none has, for an id that is no id. */
function numberOf(id: string): number {
  const [, digits] = /^j([1-9]\d{0,8})$/.exec(id) ?? [];
  return digits === undefined ? 0 : Number(digits);
}

function toStatus(done: ToolboxDone, command: string): JobStatus {
  const isRunning = done.state !== 'ended';
  return {
    id: `j${done.job ?? 0}`,
    command: toWellFormed(command),
    state: isRunning ? 'running' : 'ended',
    ended: isRunning ? undefined : (done.ended ?? 'exit'),
    exitCode: isRunning || done.ended !== 'exit' ? undefined : done.code,
    runMs: done.runMs ?? 0,
    outputBytes: done.total ?? 0,
  };
}
