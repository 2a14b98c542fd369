import path from 'node:path';
import type { ResourceKind } from './actions.ts';
import { compileCommandGlob, compileGlob, type Glob } from './glob.ts';
import { type CommandParts, spellings, splitCommand } from './split-command.ts';

/** Where an agent's files live inside its sandbox; relative paths and path patterns are taken from here. */
const workspaceRoot = '/workspace';

/** A resource made ready for matching, once per decision. */
export type Resource =
  | { readonly kind: 'text'; readonly text: string }
  | {
      readonly kind: 'command';
      readonly command: CommandParts;
      /** All readings of the line; undefined when it is too long to list them. */
      readonly loose: readonly string[] | undefined;
    };

/** One pattern of a grant. */
export interface Pattern {
  readonly source: string;
  /** Written as `**` or `*` alone, or left out: it covers everything, also what cannot be taken apart. */
  readonly isEverything: boolean;
  readonly glob: Glob;
}

/**
 * Brings a resource into the one form patterns are matched against: paths are made absolute and freed of `.` and `..`,
 * hosts lower-cased and freed of a final dot, commands taken apart.
 */
export function toResource(kind: ResourceKind, raw: string): Resource {
  switch (kind) {
    case 'command': {
      const command = splitCommand(raw);
      return { kind: 'command', command, loose: spellings(raw, command) };
    }
    case 'path':
      return { kind: 'text', text: path.posix.resolve(workspaceRoot, raw) };
    case 'host':
      return { kind: 'text', text: normaliseHost(raw) };
    case 'name':
      return { kind: 'text', text: raw };
  }
}

/** Compiles a pattern the way resources of this kind are written. */
export function toPattern(kind: ResourceKind, source: string): Pattern {
  const isEverything = source === '**' || source === '*';
  switch (kind) {
    case 'command':
      return { source, isEverything, glob: compileCommandGlob(source.trim()) };
    case 'path': {
      const isAnchored = source.startsWith('/') || source.startsWith('**');
      return {
        source,
        isEverything: source === '**',
        glob: compileGlob(isAnchored ? source : `${workspaceRoot}/${source}`),
      };
    }
    case 'host':
      return { source, isEverything, glob: compileGlob(normaliseHost(source)) };
    case 'name':
      return { source, isEverything, glob: compileGlob(source) };
  }
}

/**
 * The parts of a resource that must each be covered before it may be done. A command line that cannot be taken apart
 * has no parts: only a pattern that covers everything covers it.
 */
export function partsOf(resource: Resource): readonly string[] | undefined {
  if (resource.kind === 'text') return [resource.text];
  return resource.command.isSafe && resource.command.parts.length > 0 ? resource.command.parts : undefined;
}

/** Whether a pattern touches any spelling of any part: the reading for patterns that forbid or hold back. */
export function touches(pattern: Pattern, resource: Resource): boolean {
  if (pattern.isEverything) return true;
  if (resource.kind === 'text') return pattern.glob.matches(resource.text);
  return resource.loose?.some((text) => pattern.glob.matches(text)) ?? true;
}

function normaliseHost(raw: string): string {
  const end = raw.indexOf('/');
  const host = end === -1 ? raw : raw.slice(0, end);
  return host.toLowerCase().replace(/\.$/, '') + (end === -1 ? '' : raw.slice(end));
}
