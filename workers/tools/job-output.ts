import { z } from 'zod';
import { describeJob, jobOutputBytesMax } from './show-job.ts';
import { showOutput } from './show-output.ts';
import type { Tool } from './tool.ts';

const secondMs = 1000;
const waitSecondsMax = 120;

const parameters = z.strictObject({
  job: z.string().min(1).max(32).describe('The job id, such as j1.'),
  offset: z.int().min(0).optional().describe('First byte wanted: the last "next offset". Default: 0.'),
  wait_seconds: z.int().min(0).max(waitSecondsMax).optional().describe('Wait this long for something new. Default: 5.'),
});

/** Reads what a background command has written. */
export function jobOutputTool(): Tool<z.infer<typeof parameters>> {
  return {
    name: 'job_output',
    description: 'Read output of a background job of exec, and whether it still runs.',
    parameters,
    isParallelSafe: true,
    isIdempotent: true,
    mayRepeat: true,
    claim: ({ job }) => ({ action: 'tool.job', resource: 'output', risk: 'low', summary: `Read the output of ${job}` }),
    run: async ({ job, offset = 0, wait_seconds = 5 }, context) => {
      const { signal } = context;
      const sandbox = await context.sandbox();
      using _shown = showOutput(context);
      const options = { offset, bytesMax: jobOutputBytesMax, waitMs: wait_seconds * secondMs, signal };
      return { text: describeJob(await sandbox.readJob(job, options), offset), isError: false };
    },
  };
}
