import path from 'node:path';
import { sandboxLimitsSchema } from '#core/agents/agent-profile.ts';
import { newToken } from '#core/kit/ids.ts';
import type { Log } from '#core/kit/log.ts';
import { writeFiles } from '#core/skills/install-skill.ts';
import type { Skill, SkillFile } from '#core/skills/skill.ts';
import { DockerSandboxes } from '#workers/sandbox/docker-sandboxes.ts';
import { skillsMount } from '#workers/tools/use-skill.ts';
import { sandboxOptions } from './compose/sandbox-options.ts';
import type { Config } from './config.ts';

/** What one test script did. */
export interface SkillTestResult {
  /** Below the skill's folder. */
  readonly script: string;
  readonly exitCode: number | undefined;
  readonly output: string;
}

const testMs = 120_000;
const outputBytesMax = 256 * 1024;

/**
 * Runs `scripts/test*` of a skill in a sandbox of its own, where its files lie as they do for an agent.
 * @throws AppError `sandbox.unavailable`, `image.missing`.
 */
export async function testSkill(
  deps: { readonly config: Config; readonly log: Log },
  skill: Skill,
  signal: AbortSignal,
  onOutput: (text: string) => void,
): Promise<readonly SkillTestResult[]> {
  const { config, log } = deps;
  const { name } = skill.manifest;
  const scripts = skill.files.filter((file) => /^scripts\/test[^/]*$/.test(file.path));
  if (scripts.length === 0) return [];
  const sessionId = `skill-${newToken(9)}`;
  const options = sandboxOptions(config);
  await using sandboxes = new DockerSandboxes(
    { log },
    {
      ...options,
      limits: { ...options.limits, poolSize: 0 },
      prepareFolders: [
        async (_spec, directory) =>
          await writeFiles(path.join(directory, 'skills', name), skill.files, { file: 0o444, script: 0o555 }),
      ],
    },
  );
  try {
    const sandbox = await sandboxes.open(
      { sessionId, agent: 'skill-test', limits: sandboxLimitsSchema.parse({}) },
      signal,
    );
    const results: SkillTestResult[] = [];
    for (const file of scripts) {
      const { path: script } = file;
      const place = `${skillsMount}/${name}/${script}`;
      const { exitCode, output } = await sandbox.exec({
        command: `${interpreterOf(file)}'${place}'`,
        timeoutMs: testMs,
        outputBytesMax,
        signal,
        onOutput,
      });
      results.push({ script, exitCode, output });
    }
    return results;
  } finally {
    await sandboxes.forget(sessionId);
  }
}

/** What goes before a script's name: nothing for one that names its interpreter itself. */
function interpreterOf({ path: script, bytes, isExecutable }: SkillFile): string {
  if (isExecutable && bytes.subarray(0, 2).toString() === '#!') return '';
  if (script.endsWith('.py')) return 'python3 ';
  return /\.m?js$/.test(script) ? 'node ' : 'bash ';
}
