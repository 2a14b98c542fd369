import { describe, expect, test, vi } from 'vitest';
import { createRedactor } from '#core/redaction/create-redactor.ts';
import { createSecretBook } from '#core/redaction/secret-book.ts';
import { cpuMs } from '#tests/support/cpu-ms.ts';
import { testAgent, toolContext } from '#tests/support/tool-context.ts';
import type { ExecRequest, JobRequest, JobStatus } from '#workers/sandbox/sandbox.ts';
import { execTool } from '#workers/tools/exec.ts';
import { jobInputTool } from '#workers/tools/job-input.ts';
import { jobListTool } from '#workers/tools/job-list.ts';
import { jobOutputTool } from '#workers/tools/job-output.ts';
import { jobStopTool } from '#workers/tools/job-stop.ts';
import { pythonTool } from '#workers/tools/python.ts';
import { showOutput } from '#workers/tools/show-output.ts';
import type { Tool } from '#workers/tools/tool.ts';
import { redactTools } from '#workers/turn/redact-tools.ts';

const clean = { exitCode: 0, ended: 'exit', output: '', droppedBytes: 0, durationMs: 1234 } as const;
const running: JobStatus = {
  id: 'j1',
  command: 'npm run dev',
  state: 'running',
  ended: undefined,
  exitCode: undefined,
  runMs: 65_000,
  outputBytes: 12,
};

describe('exec in the background', () => {
  test('starts a job, gives it its input, and shows how it begins', async () => {
    const asked: (JobRequest | string)[] = [];
    const result = await execTool().run(
      { command: 'cat', background: true, stdin: 'hi\n', working_directory: 'app', timeout_seconds: 600 },
      toolContext({
        startJob: async (request) => {
          asked.push(request);
          return { id: 'j1' };
        },
        writeJob: async (id, text, { end }) => void asked.push(`${id} ${text.trim()} ${end}`),
        readJob: async () => ({ status: running, text: 'listening\n', offset: 0, nextOffset: 10 }),
      }),
    );
    expect(asked).toMatchObject([{ command: 'cat', workingDirectory: 'app', timeoutMs: 600_000 }, 'j1 hi true']);
    expect(result.text).toBe(
      'Started j1. Read on with job_output.\nj1 runs since 1 min 5 s; next offset 10, 2 bytes more to read.\nlistening',
    );
  });

  test('says so to whoever approves it', () => {
    expect(execTool().claim({ command: 'sleep 9', background: true }).summary).toBe(
      'sleep 9\n# goes on in the background',
    );
  });
});

test('what a command is given to read is shown to whoever approves it, and never remembered', () => {
  expect(execTool().claim({ command: 'bash', stdin: 'rm -rf build' })).toMatchObject({
    resource: 'bash',
    summary: 'bash\n# with the input:\nrm -rf build',
    isOnce: true,
  });
  expect(execTool().claim({ command: 'ls' })).not.toHaveProperty('isOnce');
});

test('a disk that is full is named as one, and what to do', async () => {
  const output = 'cp: error writing: No space left on device';
  const exec = async () => ({ ...clean, exitCode: 1, output });
  const { text } = await execTool().run({ command: 'cp a b' }, toolContext({ exec }));
  expect(text).toContain('The disk of the sandbox is full');
});

describe('jobs', () => {
  test('tell their state, and what was dropped before it was read', async () => {
    const ended = { ...running, state: 'ended', ended: 'exit', exitCode: 3 } as const;
    const context = toolContext({
      readJob: async () => ({ status: ended, text: 'tail', offset: 8, nextOffset: 12 }),
      listJobs: async () => [running, { ...ended, id: 'j2', ended: 'timeout', exitCode: undefined }],
      stopJob: async () => ({ ...ended, ended: 'cancelled', exitCode: undefined }),
    });
    expect((await jobOutputTool().run({ job: 'j1', offset: 0 }, context)).text).toBe(
      'j1 ended with exit code 3 after 1 min 5 s; next offset 12.\n[8 bytes before this were dropped]\ntail',
    );
    expect((await jobListTool().run({}, context)).text.split('\n')).toEqual([
      'j1 runs since 1 min 5 s, 12 bytes of output: npm run dev',
      'j2 was stopped at its timeout after 1 min 5 s, 12 bytes of output: npm run dev',
    ]);
    expect((await jobStopTool().run({ job: 'j1' }, context)).text).toContain('was stopped after');
  });

  test('input to a job is decided like a command and never harmless', () => {
    const claim = (text: string) => jobInputTool().claim({ job: 'j1', text });
    expect(claim('rm -rf /\n')).toMatchObject({ action: 'tool.exec', resource: 'rm -rf /\n', risk: 'high' });
    expect(claim('ls\n')).toMatchObject({ action: 'tool.exec', risk: 'medium' });
    expect(claim('').resource).toBe('job_input j1');
  });
});

describe('python', () => {
  const runWith = async (args: Parameters<ReturnType<typeof pythonTool>['run']>[0]) => {
    let asked: ExecRequest | undefined;
    const exec = async (request: ExecRequest) => {
      asked = request;
      return { ...clean, output: '4\n' };
    };
    const result = await pythonTool().run(args, toolContext({ exec }));
    return { ...result, asked };
  };

  test('gets its code by standard input and its arguments as words', async () => {
    const { asked, text } = await runWith({ code: "print('a')", args: ["it's", '$HOME'] });
    expect(asked?.command).toBe(`exec python3 -u - 'it'\\''s' '$HOME'`);
    expect(asked?.stdin).toBe("print('a')");
    expect(asked?.timeoutMs).toBe(60_000);
    expect(text).toBe('Exit code 0 after 1.2 s.\n4');
  });

  test('runs files of the workspace only, and none that looks like an option', async () => {
    expect((await runWith({ file: '/workspace/a.py', stdin: 'x' })).asked).toMatchObject({
      command: "exec python3 -u './a.py'",
      stdin: 'x',
    });
    expect((await runWith({ file: '-c' })).asked?.command).toBe("exec python3 -u './-c'");
    expect((await runWith({ file: '/etc/x.py' })).asked?.command).toBe("exec python3 -u './/etc/x.py'");
  });

  test('takes either code or a file', () => {
    const { parameters } = pythonTool();
    expect(parameters.safeParse({ code: '1', file: 'a' }).success).toBe(false);
    expect(parameters.safeParse({}).success).toBe(false);
    expect(parameters.safeParse({ code: '1', stdin: 'x' }).success).toBe(false);
  });

  test.each([
    ['import shutil; shutil.rmtree("/workspace")', 'high'],
    ["os.system('rm -rf /')", 'high'],
    ['subprocess.run(["rm", "-rf", "/"])', 'high'],
    ['subprocess.run("git push --force", shell=True)', 'high'],
    ['shutil.rmtree("build")', 'medium'],
    ['print(1)', 'medium'],
  ])('%s is of %s risk', (code, risk) => {
    expect(pythonTool().claim({ code })).toMatchObject({ action: 'tool.python', resource: code, risk });
  });

  test('a program that is all commands is of high risk, and takes no time to look at', () => {
    const took = cpuMs(() => {
      expect(pythonTool().claim({ code: 'os.system("ls")\n'.repeat(60_000) }).risk).toBe('high');
      expect(pythonTool().claim({ code: `os.system(${' '.repeat(1_000_000)}` }).risk).toBe('medium');
      expect(execTool().claim({ command: 'curl '.repeat(20_000) }).risk).toBe('high');
      expect(jobInputTool().claim({ job: 'j1', text: 'curl '.repeat(12_000) }).risk).toBe('high');
    });
    expect(took).toBeLessThan(1_000);
  });

  test('names the file and its arguments for a grant, and all of it for a person', () => {
    expect(pythonTool().claim({ file: 'a.py', args: ['b c'], stdin: 'yes' })).toMatchObject({
      resource: "a.py 'b c'\n# with the input:\nyes",
      summary: "python3 a.py 'b c'\n# with the input:\nyes",
    });
  });
});

test('progress is the last line and the time, at most once a second, and time alone when nothing is said', () => {
  vi.useFakeTimers();
  try {
    const shown: string[] = [];
    const output = showOutput({ progress: (text) => void shown.push(text) });
    for (let index = 0; index < 100; index += 1) {
      output.push(`line ${index}\r\n\u001b[31mred ${index}\n`);
      vi.advanceTimersByTime(20);
    }
    expect(shown.length).toBeGreaterThanOrEqual(1);
    expect(shown.length).toBeLessThanOrEqual(2);
    expect(shown[0]).toMatch(/^1 s: red \d+\n$/);
    vi.advanceTimersByTime(10_000);
    expect(shown.at(-1)).toMatch(/^1\d s: red 99\n$/);
    // Half a line may be half a secret, and so may what is left of a very long one.
    output.push('half of a lin');
    vi.advanceTimersByTime(10_000);
    expect(shown.at(-1)).toMatch(/^\d\d s: red 99\n$/);
    output.push(`${'x'.repeat(3_000)}\n`);
    vi.advanceTimersByTime(10_000);
    expect(shown.at(-1)).toMatch(/^\d\d s\n$/);
    output[Symbol.dispose]();
    const count = shown.length;
    vi.advanceTimersByTime(60_000);
    expect(shown.length).toBe(count);
  } finally {
    vi.useRealTimers();
  }
});

test('each state stays a line of its own on its way through redaction', async () => {
  const redactor = createRedactor({ secrets: createSecretBook() });
  const shown: string[] = [];
  const work = {} as Parameters<ReturnType<typeof redactTools>>[1];
  const counting: Tool = {
    ...execTool(),
    run: async (_, context) => {
      for (const line of ['1 s: step one\n', '2 s: step two\n', '3 s\n']) context.progress(line);
      return { text: '', isError: false };
    },
  };
  const tools = await redactTools(async () => new Map([['exec', counting]]), redactor)(testAgent(), work);
  await tools.get('exec')?.run({ command: 'x' }, toolContext({}, { progress: (text) => void shown.push(text) }));
  expect(shown).toEqual(['1 s: step one\n', '2 s: step two\n', '3 s\n']);
});

test('an agent without jobs of its own is told so', async () => {
  const context = toolContext({ listJobs: async () => [] }, { agent: testAgent() });
  expect((await jobListTool().run({}, context)).text).toBe('No jobs.');
});
