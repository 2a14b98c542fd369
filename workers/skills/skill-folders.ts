import { chmod, mkdir, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import type { AgentProfile } from '#core/agents/agent-profile.ts';
import { isAppError } from '#core/kit/errors.ts';
import { newToken } from '#core/kit/ids.ts';
import type { Log } from '#core/kit/log.ts';
import { writeFiles } from '#core/skills/install-skill.ts';
import type { SkillLibrary } from '#core/skills/skill-library.ts';
import type { PrepareSandboxFolder } from '../sandbox/sandbox.ts';

/** Below the read-only folder of a sandbox; `/run/host/skills` inside. */
const below = 'skills';
/** Folders remembered; one that is forgotten is written again at its next opening. */
const foldersMax = 2_000;

interface OpenFolder {
  readonly directory: string;
  /** Digest of what was written, by skill. */
  readonly written: Map<string, string>;
}

export interface SkillFolders {
  /** Puts the usable skills of the sandbox's agent into its read-only folder. */
  readonly prepare: PrepareSandboxFolder;
  /** Brings the folder of a session that is open here up to date; nothing when there is none. */
  refresh(agent: AgentProfile, sessionId: string): Promise<void>;
}

/**
 * The files of skills in sandboxes: bytes that were compared with their pins as they were read, written by the worker and
 * mounted read-only, so that nothing in a container can change what the next one runs.
 */
export function createSkillFolders(deps: {
  readonly log: Log;
  readonly library: SkillLibrary;
  /** The active profile of a name. */
  readonly findAgent: (name: string) => Promise<AgentProfile | undefined>;
}): SkillFolders {
  const { log, library } = deps;
  const open = new Map<string, OpenFolder>();
  /** One writer for each folder at a time. */
  const lines = new Map<string, Promise<void>>();
  const inLine = async (sessionId: string, work: () => Promise<void>): Promise<void> => {
    const before = lines.get(sessionId) ?? Promise.resolve();
    const own = before.catch(() => undefined).then(work);
    lines.set(sessionId, own);
    try {
      await own;
    } finally {
      if (lines.get(sessionId) === own) lines.delete(sessionId);
    }
  };
  const sync = async (folder: OpenFolder, agent: AgentProfile | undefined): Promise<void> => {
    const root = path.join(folder.directory, below);
    const wanted = new Map<string, string>();
    for (const { name, status } of agent === undefined ? [] : await library.forAgent(agent)) {
      if (status.state === 'ready') wanted.set(name, status.digest);
    }
    for (const name of await namesIn(root)) {
      if (folder.written.has(name) && folder.written.get(name) === wanted.get(name)) continue;
      folder.written.delete(name);
      await rm(path.join(root, name), { recursive: true, force: true });
    }
    if (wanted.size === 0 || agent === undefined) return;
    await mkdir(root, { recursive: true });
    await chmod(root, 0o755);
    for (const [name, digest] of wanted) {
      if (folder.written.get(name) === digest) continue;
      try {
        const { skill } = await library.read(agent, name);
        const fresh = path.join(root, `.${newToken(9)}`);
        await writeFiles(fresh, skill.files, { file: 0o444, script: 0o555 });
        await rename(fresh, path.join(root, name));
        folder.written.set(name, skill.digest);
      } catch (err) {
        // Suspended between two looks: the sandbox is good without it.
        if (!isAppError(err, 'skill.suspended') && !isAppError(err, 'skill.unknown')) throw err;
        log.warn({ skill: name, reason: err.message, agent: agent.name }, 'skill left out of a sandbox');
      }
    }
  };
  return {
    prepare: async (spec, directory, host) => {
      // Without shared files a skill is still read and followed; only its scripts are not there.
      if (spec.kind === 'browser' || host?.sharesFiles === false) return;
      await inLine(spec.sessionId, async () => {
        const agent = await deps.findAgent(spec.agent);
        const known = open.get(spec.sessionId);
        // Written anew for every container and by every worker: what lay there was not watched.
        const folder = { directory, written: new Map<string, string>() };
        if (known === undefined && open.size >= foldersMax) {
          const [oldest] = open.keys();
          if (oldest !== undefined) open.delete(oldest);
        }
        open.set(spec.sessionId, folder);
        await sync(folder, agent);
      });
    },
    refresh: async (agent, sessionId) => {
      if (!open.has(sessionId)) return;
      await inLine(sessionId, async () => {
        const folder = open.get(sessionId);
        // The folder goes with its container; the next one gets a new one.
        if (folder !== undefined && (await isThere(folder.directory))) await sync(folder, agent);
      });
    },
  };
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (err) {
    if (err instanceof Error && 'code' in err && err.code === 'ENOENT') return [];
    throw err;
  }
}

async function isThere(folder: string): Promise<boolean> {
  return await readdir(folder).then(
    () => true,
    () => false,
  );
}
