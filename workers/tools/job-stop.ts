import { z } from 'zod';
import { describeStatus } from './show-job.ts';
import type { Tool } from './tool.ts';

const parameters = z.strictObject({ job: z.string().min(1).max(32).describe('The job id, such as j1.') });

/** Ends a background command. */
export function jobStopTool(): Tool<z.infer<typeof parameters>> {
  return {
    name: 'job_stop',
    description: 'Stop a background job of exec and everything it started.',
    parameters,
    isParallelSafe: false,
    isIdempotent: true,
    claim: ({ job }) => ({ action: 'tool.job', resource: 'stop', risk: 'low', summary: `Stop ${job}` }),
    run: async ({ job }, context) => {
      const sandbox = await context.sandbox();
      return { text: `${describeStatus(await sandbox.stopJob(job, context.signal))}.`, isError: false };
    },
  };
}
