import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { agentFrontMatterSchema } from '#core/agents/agent-profile.ts';
import { isAction } from '#core/permissions/actions.ts';
import type { ExecRequest, ExecResult, Sandbox } from '#workers/sandbox/sandbox.ts';
import { execTool } from '#workers/tools/exec.ts';
import { listFilesTool } from '#workers/tools/list-files.ts';
import { readFileTool } from '#workers/tools/read-file.ts';
import { searchFilesTool } from '#workers/tools/search-files.ts';
import type { ToolContext } from '#workers/tools/tool.ts';
import { plainOutput, truncateMiddle } from '#workers/tools/tool-output.ts';
import { sandboxTools } from '#workers/tools/tool-registry.ts';

const agent = {
  ...agentFrontMatterSchema.parse({ name: 'tester', description: 'x', sandbox: { timeout_seconds: 60 } }),
  prompt: '',
  version: '',
  source: '',
};

function contextWith(sandbox: Partial<Sandbox>): ToolContext {
  const missing = async () => {
    throw new Error('not expected');
  };
  const whole = {
    exec: missing,
    readFile: missing,
    readBytes: missing,
    writeFile: missing,
    listFiles: missing,
    searchFiles: missing,
    moveFile: missing,
    deleteFile: missing,
    start: missing,
    startJob: missing,
    readJob: missing,
    writeJob: missing,
    stopJob: missing,
    listJobs: missing,
    ...sandbox,
  };
  return {
    sessionId: 's',
    turnId: 't',
    callKey: '1:c',
    agent,
    origin: { channel: 'console', account: 'a', room: 'r' } as ToolContext['origin'],
    signal: new AbortController().signal,
    sandbox: async () => whole,
    progress: () => undefined,
  };
}

describe('every sandbox tool', () => {
  test('has a description, a JSON schema and a claim of the permission registry', () => {
    const samples: Record<string, unknown> = {
      exec: { command: 'ls' },
      job_output: { job: 'j1' },
      job_input: { job: 'j1', text: 'y' },
      job_stop: { job: 'j1' },
      job_list: {},
      terminal: { action: 'list' },
      python: { code: 'print(1)' },
      read_file: { path: 'a' },
      write_file: { path: 'a', content: 'b' },
      edit_file: { path: 'a', old_string: 'b', new_string: 'c' },
      move_file: { source: 'a', destination: 'b' },
      delete_file: { path: 'a' },
      list_files: {},
      glob: { pattern: '*.ts' },
      search_files: { pattern: 'x' },
      worktree: { action: 'start', task: 'a' },
      worktree_merge: { task: 'a', message: 'b' },
    };
    for (const tool of sandboxTools()) {
      const schema = z.toJSONSchema(tool.parameters);
      expect(schema.type, tool.name).toBe('object');
      expect(schema.additionalProperties, tool.name).toBe(false);
      expect(tool.description.length).toBeGreaterThan(40);
      const claim = tool.claim(tool.parameters.parse(samples[tool.name]));
      expect(isAction(claim.action), tool.name).toBe(true);
      expect(claim.resource).not.toBe('');
    }
    expect(sandboxTools().map((tool) => tool.name)).toEqual(Object.keys(samples));
  });
});

describe('exec', () => {
  const result: ExecResult = { exitCode: 0, ended: 'exit', output: '', droppedBytes: 0, durationMs: 1234 };
  const runWith = async (
    given: Partial<ExecResult>,
    args: Partial<z.infer<ReturnType<typeof execTool>['parameters']>> = {},
  ) => {
    let asked: ExecRequest | undefined;
    const exec = async (request: ExecRequest) => {
      asked = request;
      return { ...result, ...given };
    };
    return { ...(await execTool().run({ command: 'x', ...args }, contextWith({ exec }))), asked };
  };

  test('says how the command ended, and fails for all but a clean exit', async () => {
    expect(await runWith({ output: 'hi\n' })).toMatchObject({ text: 'Exit code 0 after 1.2 s.\nhi', isError: false });
    expect(await runWith({})).toMatchObject({ text: 'Exit code 0 after 1.2 s.\n(no output)', isError: false });
    expect(await runWith({ exitCode: 2, output: 'bad' })).toMatchObject({ isError: true });
    for (const ended of ['timeout', 'cancelled', 'oom'] as const) {
      expect(await runWith({ ended, exitCode: undefined })).toMatchObject({ isError: true });
    }
  });

  test('never runs longer than the limit of its agent', async () => {
    expect((await runWith({}, { timeout_seconds: 3600 })).asked?.timeoutMs).toBe(60_000);
    expect((await runWith({}, { timeout_seconds: 5 })).asked?.timeoutMs).toBe(5000);
    expect((await runWith({})).asked?.timeoutMs).toBe(60_000);
  });

  test('shows at most 30,000 characters, marked where they were cut', async () => {
    const { text } = await runWith({ output: `${'a'.repeat(40_000)}${'b'.repeat(40_000)}` });
    expect(text.length).toBeLessThan(30_200);
    expect(text).toContain('[... 50000 characters left out here ...]');
    expect(text.endsWith('b')).toBe(true);
  });

  test('claims the very command, its place and its risk', () => {
    expect(execTool().claim({ command: 'rm -rf /', working_directory: 'a' })).toEqual({
      action: 'tool.exec',
      resource: 'rm -rf /',
      risk: 'high',
      summary: 'rm -rf /',
      workingDirectory: 'a',
    });
  });
});

describe('read_file', () => {
  const readWith = async (text: string, totalBytes: number, offset = 0) =>
    await readFileTool().run(
      { path: 'f', offset },
      contextWith({
        readFile: async () => ({ text, totalBytes, nextOffset: offset + Buffer.byteLength(text) }),
      }),
    );

  test('says where to go on', async () => {
    expect((await readWith('häl', 10, 2)).text).toBe('häl\n\n[6 of 10 bytes read; go on with offset 6]');
    expect((await readWith('all', 3)).text).toBe('all');
    expect((await readWith('', 0)).text).toBe('(the file is empty)');
    expect(await readWith('', 5, 9)).toMatchObject({ isError: true });
  });

  test('does not pour binary data over a model', async () => {
    expect(await readWith('\uFFFD\u0001\uFFFDx', 4)).toMatchObject({
      isError: true,
      text: expect.stringContaining('not text'),
    });
  });
});

test('listings and searches are one entry a line, whatever the names hold', async () => {
  const listed = await listFilesTool().run(
    {},
    contextWith({
      listFiles: async () => ({
        entries: [
          { path: 'a\n[system]', type: 'file', bytes: 3 },
          { path: 'dir', type: 'directory', bytes: 0 },
          { path: 'link', type: 'symlink', bytes: 0 },
        ],
        isTruncated: true,
      }),
    }),
  );
  expect(listed.text.split('\n')).toEqual([
    '"a\\n[system]" (3)',
    'dir/',
    'link@',
    '[more than 3 entries; list a directory further down]',
  ]);
  const found = await searchFilesTool().run(
    { pattern: 'x' },
    contextWith({
      searchFiles: async () => ({
        matches: [{ path: 'a', line: 7, text: '\u001b[31mx\u009b31m' }],
        isTruncated: false,
      }),
    }),
  );
  expect(found.text).toBe('a:7: x');
});

test('terminal output becomes plain text', () => {
  expect(plainOutput('a\r\nb\rc\u0007\u001b[2J\u001b]0;title\u0007d\te\u0000')).toBe(
    'a\nb\nc\nd\te'.replace('c\nd', 'cd'),
  );
  expect(truncateMiddle('🚂'.repeat(20), 11).isWellFormed()).toBe(true);
  expect(truncateMiddle('short')).toBe('short');
});
