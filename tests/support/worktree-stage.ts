import type { Sandbox } from '#workers/sandbox/sandbox.ts';
import type { Tool, ToolClaim, ToolResult } from '#workers/tools/tool.ts';
import { sandboxTools } from '#workers/tools/tool-registry.ts';
import { run } from './sandbox-stage.ts';
import { testAgent, toolContext } from './tool-context.ts';

interface Step {
  readonly claim: ToolClaim;
  /** Carries the call out as it was decided on, whatever has happened since. */
  readonly carryOut: () => Promise<ToolResult>;
}

/** The worktree tools on repositories of one sandbox, with what a gate would be asked. */
export interface WorktreeStage {
  /** Looks at a call as a turn does before it is decided on. */
  look(name: 'worktree' | 'worktree_merge', args: unknown): Promise<Step>;
  /** Looks, and carries out; what is refused comes as the result. */
  call(name: 'worktree' | 'worktree_merge', args: unknown): Promise<ToolResult & { readonly action: string }>;
  /** A shell command of the agent's own in the workspace; fails the test when the command fails. */
  shell(command: string, workingDirectory?: string): Promise<string>;
  /** A repository with one commit of `a.txt` on `main`. */
  repository(folder: string): Promise<void>;
}

export function worktreeStage(sandbox: () => Sandbox): WorktreeStage {
  const tools = new Map<string, Tool>(sandboxTools().map((tool) => [tool.name, tool]));
  const agent = testAgent({ name: 'coder', grants: [{ allow: '*' }], sandbox: { timeout_seconds: 120 } });
  const context = { ...toolContext({}, { agent }), sandbox: async () => sandbox() };
  const shell: WorktreeStage['shell'] = async (command, workingDirectory = '/workspace') => {
    const { output, exitCode } = await run(sandbox(), command, { workingDirectory });
    if (exitCode !== 0) throw new Error(`${command} ended with ${exitCode}: ${output}`);
    return output.trim();
  };
  const look: WorktreeStage['look'] = async (name, args) => {
    const tool = tools.get(name);
    if (tool === undefined) throw new Error(`no tool ${name}`);
    const given = tool.parameters.parse(args);
    const settled = tool.prepare === undefined ? given : await tool.prepare(given, context);
    return { claim: tool.claim(settled), carryOut: async () => await tool.run(settled, context) };
  };
  return {
    look,
    call: async (name, args) => {
      const { claim, carryOut } = await look(name, args);
      return { ...(await carryOut()), action: claim.action };
    },
    shell,
    repository: async (folder) => {
      await shell(
        `git init -q -b main ${folder} && cd ${folder} && git config user.name p && git config user.email p@example.org && ` +
          `printf 'one\\ntwo\\nthree\\n' > a.txt && git add . && git commit -qm 'first'`,
      );
    },
  };
}
