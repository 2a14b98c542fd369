import { z } from 'zod';
import { commandRisk } from './command-risk.ts';
import { describeJob, jobOutputBytesMax } from './show-job.ts';
import type { Tool } from './tool.ts';
import { clipped } from './tool-output.ts';

const textCharsMax = 60_000;
const answerMs = 2_000;

const parameters = z.strictObject({
  job: z.string().min(1).max(32).describe('The job id, such as j1.'),
  text: z.string().max(textCharsMax).describe('What to write; end a line with \\n.'),
  end: z.boolean().optional().describe('Close its standard input afterwards. Default: false.'),
});

/**
 * Writes to a background command. What is written to a shell is a command: it is decided like one, and never taken for
 * harmless.
 */
export function jobInputTool(): Tool<z.infer<typeof parameters>> {
  return {
    name: 'job_input',
    description: 'Write to the standard input of a background job of exec; returns what it then says.',
    parameters,
    isParallelSafe: false,
    isIdempotent: false,
    claim: ({ job, text }) => ({
      action: 'tool.exec',
      // An empty input only closes: it is named, because nothing can be granted on nothing.
      resource: text.trim() === '' ? `job_input ${job}` : text,
      risk: commandRisk(text) === 'high' ? 'high' : 'medium',
      summary: `Write to ${job}:\n${clipped(text)}`,
      isOnce: true,
    }),
    run: async ({ job, text, end = false }, context) => {
      const { signal } = context;
      const sandbox = await context.sandbox();
      const { status } = await sandbox.readJob(job, { offset: 0, bytesMax: 1, waitMs: 0, signal });
      await sandbox.writeJob(job, text, { end, signal });
      const options = { offset: status.outputBytes, bytesMax: jobOutputBytesMax, waitMs: answerMs, signal };
      return { text: describeJob(await sandbox.readJob(job, options)), isError: false };
    },
  };
}
