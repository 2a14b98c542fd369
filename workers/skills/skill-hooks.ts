import { outsideLimit, readToolLimit } from '#core/skills/allowed-tools.ts';
import type { KnownSkill, SkillLibrary } from '#core/skills/skill-library.ts';
import { builtIn } from '../hooks/built-in.ts';
import type { Hook } from '../hooks/hook.ts';
import type { EndedCall, PromptSection } from '../hooks/turn-hooks.ts';
import type { TurnWork } from '../turn/turn-deps.ts';
import type { SkillFolders } from './skill-folders.ts';

/** Characters of a description in the catalogue: some 50 to 100 tokens. */
const descriptionMax = 400;
const skillsShownMax = 60;
/** Passes whose earlier calls are remembered. */
const passesMax = 500;

/** What skills have to do with a turn: the catalogue in the prompt, and the limits of those in use. */
export function skillHooks(deps: {
  readonly library: SkillLibrary;
  readonly folders: SkillFolders;
  /** Calls that earlier passes over the turn have ended, however many events ago. */
  readonly earlierCalls: (work: TurnWork) => Promise<readonly EndedCall[]>;
}): readonly Hook[] {
  const earlier = new Map<string, Promise<readonly EndedCall[]>>();
  /** Read once for each pass: what a pass itself does is in the calls it hands over. */
  const earlierCalls = async (work: TurnWork): Promise<readonly EndedCall[]> => {
    if (work.attempts <= 1) return [];
    const key = `${work.turnId} ${work.attempts}`;
    const known = earlier.get(key);
    if (known !== undefined) return await known;
    const reading = deps.earlierCalls(work);
    earlier.set(key, reading);
    reading.catch(() => earlier.delete(key));
    const [oldest] = earlier.keys();
    if (earlier.size > passesMax && oldest !== undefined) earlier.delete(oldest);
    return await reading;
  };
  return [
    {
      ...builtIn('skill-catalogue'),
      context: async ({ agent, work }) => {
        const skills = await deps.library.forAgent(agent);
        // A skill that was suspended since goes from the containers that are open.
        await deps.folders.refresh(agent, work.sessionId);
        return catalogue(skills);
      },
    },
    {
      ...builtIn('skill-limits'),
      beforeTool: async (call) => {
        if (call.tool === 'use_skill') return { action: 'continue' };
        for (const name of skillsInUse([...(await earlierCalls(call.work)), ...call.endedCalls()])) {
          // Suspended meanwhile, its limits cannot be told any more: changing a file must not lift them.
          const known = (await deps.library.forAgent(call.agent)).find((skill) => skill.name === name);
          if (known?.status.state !== 'ready') {
            return {
              action: 'block',
              reason: `the skill "${name}" is in use in this turn and is not available any more`,
            };
          }
          const words = known.status.manifest.allowedTools;
          if (words === undefined) continue;
          const why = outsideLimit(readToolLimit(name, words), call.tool, commandOf(call.args));
          if (why !== undefined) return { action: 'block', reason: `${why}. It ends with this turn` };
        }
        return { action: 'continue' };
      },
    },
  ];
}

/** Skills of which something was loaded in this turn, the instructions or a file. */
function skillsInUse(calls: readonly EndedCall[]): ReadonlySet<string> {
  const names = new Set<string>();
  for (const { tool, args, isError } of calls) {
    if (tool !== 'use_skill' || isError || typeof args !== 'object' || args === null) continue;
    const name: unknown = Reflect.get(args, 'name');
    if (typeof name === 'string') names.add(name);
  }
  return names;
}

function commandOf(args: unknown): string | undefined {
  const command: unknown = typeof args === 'object' && args !== null ? Reflect.get(args, 'command') : undefined;
  return typeof command === 'string' ? command : undefined;
}

function catalogue(skills: readonly KnownSkill[]): readonly PromptSection[] {
  if (skills.length === 0) return [];
  const lines: string[] = [];
  const suspended: string[] = [];
  for (const { name, status } of skills) {
    if (status.state !== 'ready') suspended.push(name);
    else if (lines.length < skillsShownMax) lines.push(`- ${name}: ${shorten(status.manifest.description)}`);
  }
  const usable = skills.length - suspended.length;
  if (usable > lines.length) lines.push(`- and ${usable - lines.length} more that are not shown`);
  if (suspended.length > 0) {
    lines.push(`Suspended until an operator has looked at them: ${suspended.slice(0, skillsShownMax).join(', ')}.`);
  }
  const head =
    'Instructions for kinds of work. Before you begin work that one of them describes, load it with use_skill.';
  return [{ title: 'Skills', text: [head, ...lines].join('\n') }];
}

function shorten(text: string): string {
  return text.length <= descriptionMax
    ? text
    : `${text
        .slice(0, descriptionMax - 1)
        .toWellFormed()
        .trimEnd()}…`;
}
