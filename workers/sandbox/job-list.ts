import { toWellFormed } from '#core/kit/json.ts';
import type { JobStatus } from './sandbox.ts';
import type { ToolboxConnection } from './toolbox-connection.ts';

/** Longest list: sixteen entries of a label and numbers. */
export const jobListBytesMax = 32 << 10;

/**
 * How many jobs run in the container of a connection: it must not be frozen or removed then.
 * @throws AppError `sandbox.lost`, `sandbox.protocol`.
 */
export async function countRunningJobs(connection: ToolboxConnection): Promise<number> {
  const { body } = await connection.call({ op: 'jobList' }, { bytesMax: jobListBytesMax }).result;
  return parseJobList(body).filter((job) => job.state === 'running').length;
}

const endings = { e: 'exit', t: 'timeout', c: 'cancelled' } as const;

/** `<number> <r|e|t|c> <code> <milliseconds> <bytes> <command>` parted by NUL; what is none is left out. */
export function parseJobList(body: Buffer): JobStatus[] {
  return body
    .toString('utf8')
    .split('\0')
    .flatMap((entry) => {
      const [, job, letter, code, runMs, total, command = ''] =
        /^(\d{1,9}) ([retc]) (\d{1,3}) (\d{1,15}) (\d{1,15}) (.*)$/s.exec(entry) ?? [];
      if (job === undefined) return [];
      const ended = letter === 'e' || letter === 't' || letter === 'c' ? endings[letter] : undefined;
      return [
        {
          id: `j${job}`,
          command: toWellFormed(command),
          state: ended === undefined ? ('running' as const) : ('ended' as const),
          ended,
          exitCode: ended === 'exit' ? Number(code) : undefined,
          runMs: Number(runMs),
          outputBytes: Number(total),
        },
      ];
    });
}
