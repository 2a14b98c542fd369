import { compileCommandGlob, type Glob } from '../permissions/glob.ts';
import { splitCommand } from '../permissions/split-command.ts';

/** What skills written elsewhere call the same things. */
const aliases: Readonly<Record<string, readonly string[]>> = {
  // What a command does in the background is read and ended by tools of their own.
  bash: ['exec', 'job_output', 'job_list', 'job_stop'],
  shell: ['exec', 'job_output', 'job_list', 'job_stop'],
  read: ['read_file', 'view_image', 'read_pdf'],
  write: ['write_file'],
  edit: ['edit_file'],
  multiedit: ['edit_file'],
  ls: ['list_files'],
  glob: ['glob', 'list_files'],
  grep: ['search_files'],
  webfetch: ['web_fetch'],
  websearch: ['web_search'],
};

interface AllowedTool {
  readonly tool: string;
  /** Command patterns; undefined when every call of the tool is allowed. */
  readonly commands: readonly Glob[] | undefined;
}

/** What a skill limits a turn to. Only ever takes away: what it names still needs the agent's tools and grants. */
export interface ToolLimit {
  readonly skill: string;
  readonly tools: readonly AllowedTool[];
}

/**
 * Reads `allowed-tools`: names of our tools or their usual names elsewhere, each with or without a command pattern as in
 * `Bash(git:*)` or `exec(git status *)`. A pattern is understood for commands; with any other tool it allows nothing,
 * because a limit that cannot be held must not be taken for one.
 */
export function readToolLimit(skill: string, words: readonly string[]): ToolLimit {
  return {
    skill,
    tools: words.flatMap((word): AllowedTool[] => {
      const [, name = '', pattern] = /^([^(]+)(?:\(([^)]*)\))?$/.exec(word) ?? [];
      const tools = namesOf(name);
      if (pattern === undefined || pattern === '*') return tools.map((tool) => ({ tool, commands: undefined }));
      const commands = [compileCommandGlob(pattern.replace(/:\*$/, ' *'))];
      return tools
        .filter((tool) => tool === 'exec' || tool.startsWith('job_'))
        .map((tool) => ({ tool, commands: tool === 'exec' ? commands : undefined }));
    }),
  };
}

/** Our names for a word of `allowed-tools`. */
function namesOf(word: string): readonly string[] {
  const known = word.toLowerCase();
  return (Object.hasOwn(aliases, known) ? aliases[known] : undefined) ?? [word];
}

/** Why a call does not fit a limit; undefined when it does. */
export function outsideLimit(limit: ToolLimit, tool: string, command: string | undefined): string | undefined {
  const own = limit.tools.filter((item) => item.tool === tool);
  if (own.length === 0) {
    return `the skill "${limit.skill}" limits this turn to ${describeLimit(limit)}`;
  }
  if (own.some((item) => item.commands === undefined)) return undefined;
  const patterns = own.flatMap((item) => item.commands ?? []);
  const split = splitCommand(command ?? '');
  const fits =
    split.isSafe && split.parts.length > 0 && split.parts.every((part) => patterns.some((glob) => glob.matches(part)));
  if (fits) return undefined;
  return `the skill "${limit.skill}" limits commands of this turn to ${patterns.map((glob) => glob.source).join(', ')}`;
}

/** The tools of a limit in words. */
export function describeLimit({ tools }: ToolLimit): string {
  if (tools.length === 0) return 'no tools at all';
  return tools
    .map(({ tool, commands }) =>
      commands === undefined ? tool : `${tool} (${commands.map((glob) => glob.source).join(', ')})`,
    )
    .join(', ');
}
