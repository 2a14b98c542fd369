import { z } from 'zod';
import { describeStatus } from './show-job.ts';
import type { Tool } from './tool.ts';

const parameters = z.strictObject({});

/** Lists background commands. */
export function jobListTool(): Tool<z.infer<typeof parameters>> {
  return {
    name: 'job_list',
    description: 'List the background jobs of exec that run or ended last.',
    parameters,
    isParallelSafe: true,
    isIdempotent: true,
    mayRepeat: true,
    claim: () => ({ action: 'tool.job', resource: 'list', risk: 'low', summary: 'List background jobs' }),
    run: async (_, context) => {
      const sandbox = await context.sandbox();
      const jobs = await sandbox.listJobs(context.signal);
      return { text: jobs.length === 0 ? 'No jobs.' : jobs.map(describeStatus).join('\n'), isError: false };
    },
  };
}
