import { z } from 'zod';
import { sha256 } from '../kit/ids.ts';
import { canonicalJson, type Json, jsonSchema } from '../kit/json.ts';

/** Longest description a model is shown of a tool, in UTF-16 units; the rest is cut and the tool is flagged. */
const descriptionCharsMax = 2_000;
/** Largest definition that is looked at, as canonical JSON in UTF-16 units. */
const definitionCharsMax = 60_000;
/** Most tools of one server; a longer list is refused whole. */
export const toolsMax = 200;
/** What every model vendor takes as a name. */
const modelNameCharsMax = 64;

/** What is odd about a tool; told to whoever approves it. */
export type ToolFlag =
  /** Characters that people do not see and models do. */
  | 'invisible_text'
  /** The description was cut. */
  | 'long_description'
  /** The name holds characters that a model's tool name cannot have. */
  | 'odd_name'
  /** The name is that of a tool of ours or of another server. */
  | 'shadows'
  /** The description speaks to the model about other things than the tool. */
  | 'instructs';

const flagTexts: Readonly<Record<ToolFlag, string>> = {
  invisible_text: 'has invisible characters (they were taken out)',
  long_description: `has a description of more than ${descriptionCharsMax} characters (it was cut)`,
  odd_name: 'has a name with unusual characters',
  shadows: 'has the name of a tool that exists already',
  instructs: 'tells the model to do other things',
};

/** A flag in words, for whoever approves. */
export function describeFlag(flag: ToolFlag): string {
  return flagTexts[flag];
}

const definitionSchema = z.looseObject({
  name: z.string().min(1).max(256),
  description: z.string().optional(),
  inputSchema: z.looseObject({ type: z.literal('object') }),
});

/** A tool as its server described it. Nothing in it is trusted, its annotations least. */
export interface SeenTool {
  readonly name: string;
  /** SHA-256 over the canonical JSON of the whole definition and of where the server comes from. */
  readonly digest: string;
  readonly definition: Json;
  readonly flags: readonly ToolFlag[];
}

/**
 * Reads one entry of a server's tool list.
 * @param source what the server is: another address or other code is another tool, whatever it says of itself.
 * @returns undefined for an entry that is no tool or too large to be looked at.
 */
export function readTool(
  entry: unknown,
  source: string,
  takenNames: ReadonlySet<string> = new Set(),
): SeenTool | undefined {
  const parsed = definitionSchema.safeParse(entry);
  const json = jsonSchema.safeParse(entry);
  if (!parsed.success || !json.success) return undefined;
  const canonical = canonicalJson(json.data);
  if (canonical.length > definitionCharsMax) return undefined;
  const { name, description = '' } = parsed.data;
  const flags: ToolFlag[] = [];
  if (visibleText(canonical) !== canonical || hasEscapedInvisible(json.data)) flags.push('invisible_text');
  if (description.length > descriptionCharsMax) flags.push('long_description');
  if (!/^[A-Za-z0-9_-]+$/.test(name)) flags.push('odd_name');
  if (takenNames.has(plainName(name))) flags.push('shadows');
  if (instructions.test(description)) flags.push('instructs');
  return { name, digest: sha256(`${source}\n${canonical}`), definition: json.data, flags };
}

/** Words that a description of what a tool does has no use for. Only a hint for people: the list cannot be complete. */
const instructions =
  /ignore (?:all |any )?(?:previous|prior|above)|<(?:important|system|instructions?)>|do not (?:tell|mention|inform)|before (?:using|calling) (?:any|this|other)|system prompt|always (?:call|use) this|\.ssh\b|\bapi[ _-]?keys?\b|\bpasswords?\b/i;

/** The name without letters that only look different: `Read_File` and `read-file` are one to a reader. */
export function plainName(name: string): string {
  return name
    .normalize('NFKC')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]/g, '');
}

/**
 * Everything that can carry text nobody sees: controls, format characters (zero-width, bidi marks, tag letters), fillers
 * and variation selectors. What joins and colours emoji stays, where an emoji stands before it.
 */
const invisible =
  /(?![\n\t])\p{Cc}|(?!\u200d)\p{Cf}|(?<!\p{Extended_Pictographic}\ufe0f?)\u200d|(?<![\p{Extended_Pictographic}0-9#*])\ufe0f|\u034f|\u115f|\u1160|\u17b4|\u17b5|\u2028|\u2029|\u3164|\uffa0|\u180b|\u180c|\u180d|\u180f|(?!\ufe0f)[\ufe00-\ufe0f]|[\u{e0100}-\u{e01ef}]/gu;

/** The text without what people cannot see; line breaks and tabs stay. */
export function visibleText(text: string): string {
  return text.toWellFormed().replaceAll(invisible, '');
}

/** JSON escapes control characters, so they are looked for in the strings themselves. */
function hasEscapedInvisible(value: Json): boolean {
  if (typeof value === 'string') return visibleText(value) !== value;
  if (Array.isArray(value)) return value.some(hasEscapedInvisible);
  if (value === null || typeof value !== 'object') return false;
  return Object.entries(value).some(([key, item]) => visibleText(key) !== key || hasEscapedInvisible(item));
}

/** The name agents call a tool by: `server__tool`, cut with a digest where vendors would refuse it. */
export function modelToolName(server: string, tool: string): string {
  const plain = `${server}__${tool.replaceAll(/[^A-Za-z0-9_-]/g, '_')}`;
  if (plain.length <= modelNameCharsMax && plain === `${server}__${tool}`) return plain;
  return `${plain.slice(0, modelNameCharsMax - 9)}_${sha256(tool).slice(0, 8)}`;
}

/** What a model is shown of a tool's definition. */
export interface ShownTool {
  readonly name: string;
  readonly description: string;
  readonly inputSchema: Json;
}

/**
 * The definition as a model sees it: no annotations, no titles, nothing invisible, and a line that says whose words
 * these are.
 */
export function shownTool(server: string, definition: Json): ShownTool {
  const { name, description = '', inputSchema } = definitionSchema.parse(definition);
  const text = visibleText(description).trim();
  const cut = text.length > descriptionCharsMax ? `${text.slice(0, descriptionCharsMax)}…` : text;
  return {
    name,
    description: `(Tool of the MCP server "${server}"; the description is the server's own.) ${cut}`.trim(),
    inputSchema: cleaned(jsonSchema.parse(inputSchema)),
  };
}

function cleaned(value: Json): Json {
  if (typeof value === 'string') return visibleText(value);
  if (Array.isArray(value)) return value.map(cleaned);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, cleaned(item)]));
}

/** Most lines of a difference that fit a message in a chat. */
const diffLinesMax = 30;

/** What changed between two definitions, as lines that begin with `-` and `+`. */
export function diffDefinitions(before: Json | undefined, after: Json): string[] {
  const old = before === undefined ? [] : leaves(before);
  const now = leaves(after);
  const [oldSet, nowSet] = [new Set(old), new Set(now)];
  const lines = [
    ...old.filter((line) => !nowSet.has(line)).map((line) => `- ${line}`),
    ...now.filter((line) => !oldSet.has(line)).map((line) => `+ ${line}`),
  ].map((line) => (line.length > 300 ? `${line.slice(0, 300)}… (${line.length} characters)` : line));
  return lines.length <= diffLinesMax
    ? lines
    : [...lines.slice(0, diffLinesMax), `… ${lines.length - diffLinesMax} more lines`];
}

/** One line for each value, with its path. Invisible characters are spelled out: hiding them would hide the change. */
function leaves(value: Json, path = ''): string[] {
  if (Array.isArray(value)) return value.flatMap((item, index) => leaves(item, `${path}[${index}]`));
  if (value !== null && typeof value === 'object') {
    return Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .flatMap(([key, item]) => leaves(item, path === '' ? spelled(key) : `${path}.${spelled(key)}`));
  }
  return [`${path}: ${spelled(typeof value === 'string' ? value : JSON.stringify(value))}`];
}

function spelled(text: string): string {
  return text
    .toWellFormed()
    .replaceAll(/\r?\n/g, ' ⏎ ')
    .replaceAll(
      invisible,
      (letter) => `‹U+${(letter.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}›`,
    );
}
