import { readFileSync } from 'node:fs';
import { type Document, LineCounter, parseDocument, visit } from 'yaml';
import { z } from 'zod';
import { isLastingTarget } from '#core/broadcast/target.ts';
import { isAddressRange } from '#core/egress/address-guard.ts';
import { parseDuration } from '#core/kit/duration.ts';
import { nearestWord } from '#core/kit/nearest-word.ts';
import { mcpServersSchema } from '#core/mcp/mcp-server.ts';
import { webhookEvents } from '#core/webhooks/webhook.ts';
import { directivePriorities } from '#workers/hooks/directives.ts';

const usdPerMillion = z.number().nonnegative();

const span = z.string().refine((text) => parseDuration(text) !== undefined, 'is written like 30s, 10m, 2h or 1d');
const targetText = z
  .string()
  .refine(
    (text) => text === 'approvers' || isLastingTarget(text),
    'is written @name, person:<id>, channel:room[:thread], rooms, people, owners, admins or approvers',
  );

const fileName = z.string().regex(/^[\w][\w.-]*$/, 'is the name of a file, without folders');

/** What an operator writes for one endpoint; the meaning of each flag is in core/models/providers.ts. */
const compatSchema = z
  .strictObject({
    usageInStream: z.boolean(),
    instructionsRole: z.enum(['system', 'developer']),
    maxTokensField: z.enum(['max_tokens', 'max_completion_tokens']),
    promptCacheKey: z.boolean(),
    effort: z.enum(['none', 'reasoning_effort', 'thinking', 'adaptive', 'thinking_budget']),
    replayReasoning: z.boolean(),
    toolStream: z.boolean(),
    outputFromTotal: z.boolean(),
    encryptedReasoning: z.boolean(),
    apiKeyHeader: z.boolean(),
    vision: z.boolean(),
  })
  .partial();

/** A platform's id. Long ones must be quoted: YAML reads bare digits as a number and rounds them. */
const platformId = z.union([z.string().min(1), z.number().int()]).transform(String);
const addressRange = z.string().refine(isAddressRange, 'is an address or a range such as 10.1.0.0/16');
const roomMode = z.enum(['open', 'paired', 'closed']);

/** Who a channel works for; the meaning of each key is in core/people/access.ts. */
const accessShape = {
  allow: z
    .strictObject({
      accounts: z.array(platformId).optional(),
      people: z.array(platformId).default([]),
      roles: z.array(platformId).default([]),
      rooms: z.array(platformId).default([]),
      dm: roomMode.default('paired'),
      group: roomMode.default('paired'),
      channel: roomMode.default('paired'),
      requests: z.boolean().default(false),
    })
    .prefault({}),
  rooms: z
    .record(
      z.string(),
      z.strictObject({ mode: roomMode.optional(), mention: z.enum(['required', 'optional']).default('required') }),
    )
    .default({}),
};

/**
 * `switchyard.yaml` in the project root: what a team keeps in git. There is no place for a key or a token in it, so that
 * none gets committed.
 */
export const configFileSchema = z.strictObject({
  channels: z
    .strictObject({
      telegram: z
        .strictObject({
          enabled: z.boolean().default(true),
          /** Real tables, headings and task lists; apps that are years old show only a note in their place. */
          rich_messages: z.boolean().default(true),
          ...accessShape,
        })
        .prefault({}),
      slack: z
        .strictObject({
          enabled: z.boolean().default(true),
          /** Whether each message to the bot begins a thread, as in Slack's agent view, or all are one stream. */
          direct_messages: z.enum(['threads', 'stream']).default('threads'),
          ...accessShape,
        })
        .prefault({}),
      discord: z.strictObject({ enabled: z.boolean().default(true), ...accessShape }).prefault({}),
    })
    .prefault({}),
  models: z
    .strictObject({
      default: z.string().optional(),
      providers: z
        .record(
          z.string(),
          z.strictObject({
            base_url: z.url({ protocol: /^https?$/ }).optional(),
            wire: z.enum(['openai.chat', 'openai.responses', 'anthropic.messages']).optional(),
            compat: compatSchema.optional(),
          }),
        )
        .default({}),
      /** USD per million tokens, by `provider:model`. */
      prices: z
        .record(
          z.string(),
          z.strictObject({
            input: usdPerMillion,
            output: usdPerMillion,
            cache_read: usdPerMillion.optional(),
            cache_write: usdPerMillion.optional(),
          }),
        )
        .default({}),
      /** Draws for `generate_image`, at a provider with OpenAI's images endpoint. */
      images: z
        .strictObject({
          model: z.string().min(1),
          /** What one picture costs at most; without it none is drawn. */
          usd_per_image: z.number().nonnegative().optional(),
        })
        .optional(),
    })
    .prefault({}),
  approvals: z
    .strictObject({
      /** Where requests are shown besides where they are asked. */
      notify: z.array(targetText).optional(),
      /** A span such as 10m, or off. */
      remind_after: z.union([span, z.literal('off')]).default('10m'),
      escalate_after: span.optional(),
      escalate_to: z.array(targetText).default([]),
      email: z.array(z.email()).default([]),
    })
    .prefault({}),
  announcements: z.strictObject({ to: z.array(targetText).default(['rooms', 'people']) }).prefault({}),
  webhooks: z
    .array(
      z.strictObject({
        url: z.url({ protocol: /^https?$/ }),
        events: z
          .array(z.enum(webhookEvents))
          .min(1)
          .default([...webhookEvents]),
        /** The variable that holds the secret calls are signed with. */
        secret_env: z.string().regex(/^[A-Z][A-Z0-9_]*$/, 'is the name of an environment variable'),
        allow_private: z.boolean().default(false),
      }),
    )
    .default([]),
  /** Addresses agents may reach although they are not public, and those they may not although they are. */
  egress: z
    .strictObject({ open: z.array(addressRange).default([]), closed: z.array(addressRange).default([]) })
    .prefault({}),
  skills: z
    .strictObject({
      /** Use what other programs put into `.agents/skills` of the project, once it is trusted like any other skill. */
      agents_folder: z.boolean().default(false),
      /** Digests that are never used, wherever they are found. */
      revoked: z.array(z.string().regex(/^sha256:[0-9a-f]{64}$/, 'is written sha256: and 64 hex digits')).default([]),
    })
    .prefault({}),
  /** Standing instructions for agents; at most five are told. */
  directives: z
    .array(
      z.strictObject({
        title: z.string().min(1).max(200),
        text: z.string().min(1).max(2000),
        priority: z.enum(directivePriorities).default('medium'),
        status: z.enum(['active', 'paused', 'completed']).default('active'),
        agents: z.array(z.string()).optional(),
      }),
    )
    .default([]),
  hooks: z
    .strictObject({
      /** Hooks that do not run, by name. */
      disable: z.array(z.string()).default([]),
      /** What one call of a project's own hook may take. */
      timeout_seconds: z.number().min(0.1).max(60).default(5),
      /** Command patterns that are blocked without asking anybody. */
      block_commands: z.array(z.string().min(1)).default([]),
      /** Characters of a result that a model reads, by tool. */
      output_chars: z.record(z.string(), z.int().min(200)).default({}),
      /** Files of repositories shown to agents. */
      context: z
        .strictObject({
          workspace: z.array(fileName).max(10).default([]),
          project: z.array(z.string().min(1)).max(10).default([]),
        })
        .prefault({}),
      directives_from: z.enum(directivePriorities).default('low'),
      notify: z
        .strictObject({
          to: z.array(targetText).default([]),
          failures: z.boolean().default(true),
          longer_than: span.optional(),
        })
        .prefault({}),
      /** A file with one line of JSON for each turn. */
      trajectory_log: z
        .strictObject({
          enabled: z.boolean().default(false),
          max_mb: z.int().min(1).max(1_000).default(20),
          files: z.int().min(1).max(100).default(5),
        })
        .prefault({}),
      recovery: z.strictObject({ retries: z.int().min(0).max(10).default(0), after: span.default('30s') }).prefault({}),
    })
    .prefault({}),
  /** Servers whose tools agents may use; the meaning of each key is in core/mcp/mcp-server.ts. */
  mcp: z.strictObject({ servers: mcpServersSchema.default({}) }).prefault({}),
  defaults: z.strictObject({ agent: z.string().default('assistant') }).prefault({}),
});

export type ConfigFile = z.infer<typeof configFileSchema>;

/** Reads the file; an absent one is all defaults. `problems` are whole sentences that begin with file, line and column. */
export function readConfigFile(file: string): { readonly value: ConfigFile; readonly problems: readonly string[] } {
  let text = '';
  try {
    text = readFileSync(file, 'utf8');
  } catch (err) {
    if (!(err instanceof Error && 'code' in err && err.code === 'ENOENT')) {
      return { value: configFileSchema.parse({}), problems: [`${file} cannot be read: ${String(err)}`] };
    }
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  if (document.errors.length > 0) {
    const problems = document.errors.map((err) => `${at(err.pos[0])}: ${err.message.split('\n')[0] ?? 'invalid YAML'}`);
    return { value: configFileSchema.parse({}), problems };
  }
  const rounded = roundedNumbers(document).map(
    ({ offset, text: digits }) => `${at(offset)}: ${digits} is too long for a number. Put quotes around it.`,
  );
  if (rounded.length > 0) return { value: configFileSchema.parse({}), problems: rounded };
  const parsed = configFileSchema.safeParse(document.toJS() ?? {});
  if (parsed.success) return { value: parsed.data, problems: [] };
  const problems = parsed.error.issues.flatMap((issue) => {
    // The deepest part of the path that is in the file carries the position: a missing key has none of its own.
    let node: unknown;
    for (let length = issue.path.length; length >= 0 && !hasRange(node); length -= 1) {
      node = document.getIn(issue.path.slice(0, length), true);
    }
    const place = hasRange(node) ? at(node.range[0]) : file;
    const name = issue.path.map(String).join('.') || 'the file';
    if (issue.code !== 'unrecognized_keys') return [`${place}: ${name}: ${issue.message}.`];
    const known = knownKeys(issue.path);
    return issue.keys.map((key) => {
      const near = nearestWord(key, known);
      const full = [...issue.path.map(String), key].join('.');
      return `${place}: ${full} is not a setting.${near === undefined ? '' : ` Did you mean "${near}"?`}`;
    });
  });
  return { value: configFileSchema.parse({}), problems };
}

/** Bare ids that lost digits when they were read as numbers. */
function roundedNumbers(document: Document): { readonly offset: number; readonly text: string }[] {
  const found: { offset: number; text: string }[] = [];
  visit(document, {
    Scalar: (_key, node) => {
      if (typeof node.value !== 'number' || !Number.isInteger(node.value) || Number.isSafeInteger(node.value)) return;
      found.push({ offset: node.range?.[0] ?? 0, text: node.source ?? String(node.value) });
    },
  });
  return found;
}

function hasRange(node: unknown): node is { readonly range: readonly [number, number, number] } {
  return typeof node === 'object' && node !== null && 'range' in node && Array.isArray(node.range);
}

/** The keys the schema knows at a path, for "did you mean". */
function knownKeys(path: readonly PropertyKey[]): string[] {
  let schema: unknown = z.toJSONSchema(configFileSchema, { io: 'input' });
  for (const step of path) {
    schema = read(read(schema, 'properties'), String(step)) ?? read(schema, 'additionalProperties');
  }
  return Object.keys(read(schema, 'properties') ?? {});
}

function read(value: unknown, key: string): object | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const found: unknown = Reflect.get(value, key);
  return typeof found === 'object' && found !== null ? found : undefined;
}
