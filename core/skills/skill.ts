import { createHash } from 'node:crypto';
import { sha256 } from '../kit/ids.ts';
import { canonicalJson } from '../kit/json.ts';

/** Bounds of one skill; the first two are those of the skills extension of MCP (SEP-2640). */
export const skillLimits = {
  filesMax: 512,
  bytesMax: 16 * 1024 * 1024,
  /** `SKILL.md` itself: 500 lines are recommended, and this is many times that. */
  manifestBytesMax: 256 * 1024,
  /** Levels of folders below the skill's own. */
  depthMax: 8,
} as const;

/** What `SKILL.md` says of itself, and its instructions. */
export interface SkillManifest {
  readonly name: string;
  /** What it is for and when to use it: all a model knows of it before it is loaded. */
  readonly description: string;
  readonly license: string | undefined;
  readonly compatibility: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  /** As written; undefined when the skill limits nothing. */
  readonly allowedTools: readonly string[] | undefined;
  readonly body: string;
}

/** A file on its way in; its path has been checked for shape only. */
export interface RawFile {
  /** Below the skill's folder, with `/`. */
  readonly path: string;
  readonly bytes: Buffer;
  readonly isExecutable: boolean;
}

export interface SkillFile extends RawFile {
  readonly sha256: string;
}

/** A whole skill whose every rule was checked. */
export interface Skill {
  readonly manifest: SkillManifest;
  /** Sorted by path; `SKILL.md` among them. */
  readonly files: readonly SkillFile[];
  /** `sha256:<hex>` over names, contents and executable bits of all files. */
  readonly digest: string;
  readonly totalBytes: number;
}

/** Where a skill was found. Later ones take the place of earlier ones of the same name. */
export type SkillScope = 'bundled' | 'agents-folder' | 'project' | 'agent';

/** What a file is pinned as: its SHA-256, and ` x` when it may be executed. */
function pinOf(file: Pick<SkillFile, 'sha256' | 'isExecutable'>): string {
  return file.isExecutable ? `${file.sha256} x` : file.sha256;
}

/** The digest of a skill from its pins by path. */
export function digestOf(pins: Readonly<Record<string, string>>): string {
  return `sha256:${sha256(canonicalJson(pins))}`;
}

export function pinsOf(files: readonly SkillFile[]): Readonly<Record<string, string>> {
  return Object.fromEntries(files.map((file) => [file.path, pinOf(file)]));
}

export function hashBytes(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Whether a text can be the name of a skill, and of its folder. */
export function isSkillName(name: string): boolean {
  return name.length <= 64 && /^[a-z0-9]+(?:-[a-z0-9]+)*$/.test(name);
}
