import { isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { ruleProblems } from '../egress/egress-rule.ts';
import { sha256 } from '../kit/ids.ts';
import { didYouMean } from '../kit/nearest-word.ts';
import { approverProblem, compileGrant, isApproverRule } from '../permissions/grant.ts';
import { grantItemSchema } from '../permissions/grant-item.ts';
import { type AgentFrontMatter, type AgentProfile, agentFrontMatterSchema } from './agent-profile.ts';

type YamlDocument = ReturnType<typeof parseDocument>;
type Path = readonly PropertyKey[];

/** A longer list of keys says less than the documentation does. */
const keysShownMax = 8;

export interface ParsedAgent {
  /** Undefined when there are problems. */
  readonly profile: AgentProfile | undefined;
  /** Each as `file:line:column message`. */
  readonly problems: readonly string[];
}

/**
 * Reads one agent file: YAML between two `---` lines, then the prompt. Reports every problem it finds, each with its
 * place in the file.
 * @param source the path for messages.
 * @param knownTools when given, `tools:` is checked against it.
 * @param knownSkills when given, `skills:` is checked against it.
 */
export function parseAgent(
  text: string,
  source: string,
  knownTools?: readonly string[],
  knownSkills?: readonly string[],
): ParsedAgent {
  const plain = text.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n');
  const split = /^---[ \t]*\n([\s\S]*?\n)?---[ \t]*(?:\n([\s\S]*))?$/.exec(plain);
  if (split === null) {
    const why = plain.startsWith('---') ? 'the front matter has no closing ---' : 'the file must begin with ---';
    return { profile: undefined, problems: [`${source}:1:1 ${why}`] };
  }
  const lines = new LineCounter();
  // One line more in front, so that the reader's line numbers are those of the file.
  const yaml = parseDocument(`\n${split[1] ?? ''}`, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${source}:${line}:${col}`;
  };
  if (yaml.errors.length > 0) {
    return { profile: undefined, problems: yaml.errors.map((err) => `${at(err.pos[0])} ${lower(err.message)}`) };
  }
  const report = new Map<string, string>();
  const add = (path: Path, message: string, atKey?: string): void => {
    const place = at(offsetOf(yaml, path, atKey));
    report.set(`${place} ${message}`, place);
  };

  const data = toData(yaml, add);
  const result = agentFrontMatterSchema.safeParse(data);
  for (const issue of result.error?.issues ?? []) reportIssue(issue, yaml, add);
  checkGrants(data, source, add);
  if (result.success) {
    checkMeaning(result.data, knownTools, add);
    checkSkills(result.data, knownSkills, add);
  }
  const prompt = (split[2] ?? '').trim();
  if (prompt === '') add([], 'the prompt below the front matter is empty');

  const problems = [...report.keys()];
  const grantLines = (result.data?.grants ?? []).map(
    (_grant, index) => lines.linePos(offsetOf(yaml, ['grants', index])).line,
  );
  const isGood = problems.length === 0 && result.success;
  return {
    profile: isGood ? { ...result.data, prompt, version: sha256(plain), source, grantLines } : undefined,
    problems: problems.sort(byPlace),
  };
}

function toData(yaml: YamlDocument, add: (path: Path, message: string) => void): unknown {
  try {
    return yaml.toJS() ?? {};
  } catch (err) {
    // An alias that multiplies itself; the reader refuses to unfold it.
    add([], lower(err instanceof Error ? err.message : String(err)));
    return {};
  }
}

function reportIssue(
  issue: z.core.$ZodIssue,
  yaml: YamlDocument,
  add: (path: Path, message: string, atKey?: string) => void,
): void {
  const name = issue.path.length === 0 ? '' : `${issue.path.map(String).join('.')}: `;
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = keysAt(agentFrontMatterSchema, issue.path);
      for (const key of issue.keys) {
        const hint = didYouMean(key, known) || (known.length > keysShownMax ? '' : `; known are ${known.join(', ')}`);
        add(issue.path, `unknown key "${key}"${hint}`, key);
      }
      return;
    }
    case 'invalid_value': {
      const known = issue.values.map(String);
      const value = String(yaml.getIn(issue.path));
      add(issue.path, `${name}"${value}" is not one of ${known.join(', ')}${didYouMean(value, known)}`);
      return;
    }
    case 'invalid_union':
      add(issue.path, `${name}expected a text or a list of texts`);
      return;
    default:
      add(issue.path, `${name}${lower(issue.message).replace(/^invalid input: /, '')}`);
  }
}

/** Grants are checked one by one, so that a slip elsewhere in the file does not hide theirs. */
function checkGrants(data: unknown, source: string, add: (path: Path, message: string) => void): void {
  const list = z.object({ grants: z.array(z.unknown()) }).safeParse(data);
  list.data?.grants.forEach((raw, index) => {
    const item = grantItemSchema.safeParse(raw);
    if (!item.success) return;
    for (const problem of compileGrant(item.data, source).problems) {
      add(['grants', index, ...problem.path], problem.message);
    }
  });
}

function checkMeaning(
  profile: AgentFrontMatter,
  knownTools: readonly string[] | undefined,
  add: (path: Path, message: string) => void,
): void {
  profile.tools.forEach((tool, index) => {
    if (knownTools === undefined || knownTools.includes(tool)) return;
    add(['tools', index], `unknown tool "${tool}"${didYouMean(tool, knownTools)}`);
  });
  profile.approval.approvers.forEach((rule, index) => {
    if (!isApproverRule(rule)) add(['approval', 'approvers', index], approverProblem(rule));
  });
  checkEgress(profile, add);
  if (profile.ask_above !== undefined && profile.autonomy !== 'semi-autonomous') {
    add(['ask_above'], `ask_above works with autonomy: semi-autonomous only, and this is ${profile.autonomy}`);
  }
}

function checkSkills(
  { skills }: AgentFrontMatter,
  known: readonly string[] | undefined,
  add: (path: Path, message: string) => void,
): void {
  if (known === undefined || skills === 'all') return;
  skills.forEach((skill, index) => {
    if (!known.includes(skill)) add(['skills', index], `unknown skill "${skill}"${didYouMean(skill, known)}`);
  });
}

/** Rules and the network they need, each of which does nothing without the other. */
function checkEgress(profile: AgentFrontMatter, add: (path: Path, message: string) => void): void {
  const { egress, sandbox } = profile;
  egress.forEach((rule, index) => {
    for (const { key, message } of ruleProblems(rule)) add(['egress', index, key], message);
    if (rule.from === 'sandbox' && sandbox.network === 'none') {
      add(
        ['egress', index, 'from'],
        'this rule is for the sandbox, which has no network; set sandbox: { network: gateway }',
      );
    }
  });
  if (sandbox.network === 'gateway' && !egress.some((rule) => rule.from !== 'tools')) {
    add(['sandbox', 'network'], 'the gateway lets out what egress rules cover, and none is for the sandbox; add one');
  }
}

/** Where a value stands, or its key; for something that is missing, where its nearest parent stands. */
function offsetOf(yaml: YamlDocument, path: Path, key?: string): number {
  const plain = path.map((item) => (typeof item === 'number' ? item : String(item)));
  if (key !== undefined) {
    const map = plain.length === 0 ? yaml.contents : yaml.getIn(plain, true);
    const pair = isMap(map)
      ? map.items.find((item) => isScalar(item.key) && String(item.key.value) === key)
      : undefined;
    const start = isScalar(pair?.key) ? pair.key.range?.[0] : undefined;
    if (start !== undefined) return start;
  }
  for (let length = plain.length; length > 0; length--) {
    const node = yaml.getIn(plain.slice(0, length), true);
    if (isNode(node)) return node.range[0];
  }
  // Just behind the line that was put in front.
  return 1;
}

function isNode(value: unknown): value is { readonly range: readonly [number, number, number] } {
  return typeof value === 'object' && value !== null && 'range' in value && Array.isArray(value.range);
}

/** The keys an object of the schema knows at a path, for "did you mean". */
function keysAt(schema: unknown, path: Path): readonly string[] {
  let at = unwrap(schema);
  for (const step of path) {
    if (at instanceof z.ZodObject) at = unwrap(at.shape[String(step)]);
    else if (at instanceof z.ZodArray) at = unwrap(at.element);
    else return [];
  }
  return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
}

function unwrap(schema: unknown): unknown {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) {
    return unwrap(schema.unwrap());
  }
  return schema;
}

function lower(message: string): string {
  return message.charAt(0).toLowerCase() + message.slice(1);
}

function byPlace(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}
