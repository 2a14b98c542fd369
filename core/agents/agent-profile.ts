import { z } from 'zod';
import { egressRuleSchema } from '../egress/egress-rule.ts';
import { grantItemSchema } from '../permissions/grant-item.ts';
import { imageNameMend, isImageName } from '../sandboxes/image-name.ts';

/** How much an agent may do before a person is asked. */
const autonomySchema = z.enum(['supervised', 'semi-autonomous', 'autonomous']);

/** Limits of an agent's container. */
export const sandboxLimitsSchema = z.strictObject({
  memory_mb: z.int().min(64).max(16_384).default(512),
  cpus: z.number().min(0.1).max(16).default(1),
  pids: z.int().min(32).max(4096).default(256),
  /** Size of the workspace: everything the agent keeps in files. */
  disk_mb: z.int().min(16).max(65_536).default(1024),
  /** Longest one tool call may run, in seconds. */
  timeout_seconds: z.int().min(1).max(3600).default(120),
  image: z.string().refine(isImageName, `is no name of an image. ${imageNameMend}`).optional(),
  /** `gateway`: the hosts of the agent's egress rules, through a proxy of the worker; there is no other way out. */
  network: z.enum(['none', 'gateway']).default('none'),
  /** A runtime the Docker engine knows, such as `runsc` (gVisor) or `kata`; the engine's default when absent. */
  runtime: z
    .string()
    .regex(/^[a-zA-Z0-9][\w.-]{0,63}$/)
    .optional(),
});

/** The YAML front matter of `agents/*.md`. */
export const agentFrontMatterSchema = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9-]{0,31}$/),
  description: z.string(),
  role: z.string().optional(),
  colour: z.string().optional(),
  aliases: z.array(z.string()).default([]),
  /** `default`, `demo`, `openai:<id>`, `anthropic:<id>`, `<provider>:<id>`, or a bare id whose prefix tells the vendor. */
  model: z.string().default('default'),
  fallbacks: z.array(z.string()).default([]),
  /** Passed on to models that take one; Anthropic's refuse it and are not sent it. */
  temperature: z.number().min(0).max(2).optional(),
  effort: z.enum(['none', 'low', 'medium', 'high', 'max']).optional(),
  output_tokens_max: z.int().min(64).max(128_000).default(8192),
  tools: z.array(z.string()).default([]),
  /** MCP servers of the project's file whose approved tools it may call. */
  mcp: z.array(z.string()).default([]),
  /** Skills it may load; those of its own folder are always its. */
  skills: z.union([z.literal('all'), z.array(z.string())]).default([]),
  grants: z.array(grantItemSchema).default([]),
  autonomy: autonomySchema.default('supervised'),
  /** Semi-autonomous agents ask above these. */
  ask_above: z
    .strictObject({ cost_usd: z.number().optional(), risk: z.enum(['low', 'medium', 'high']).optional() })
    .optional(),
  budget: z
    .strictObject({ daily_usd: z.number().positive().optional(), monthly_usd: z.number().positive().optional() })
    .optional(),
  sandbox: sandboxLimitsSchema.prefault({}),
  /** What may be reached outside, by tools and by the sandbox; nothing unless told. */
  egress: z.array(egressRuleSchema).default([]),
  approval: z
    .strictObject({
      expires_minutes: z.int().min(1).max(10_080).default(30),
      /** Who may decide when a grant names nobody. */
      approvers: z.array(z.string()).default(['role:owner', 'role:admin']),
      requester_may_approve: z.boolean().default(true),
    })
    .prefault({}),
  /** Hooks that do not run for this agent, by name. */
  hooks: z.strictObject({ disable: z.array(z.string()).default([]) }).prefault({}),
});

export type AgentFrontMatter = z.infer<typeof agentFrontMatterSchema>;
export type SandboxLimits = z.infer<typeof sandboxLimitsSchema>;

/** A loaded agent: front matter, prompt, and the content version a turn records. */
export interface AgentProfile extends AgentFrontMatter {
  /** The Markdown body: the system prompt. */
  readonly prompt: string;
  /** SHA-256 of the file's content. */
  readonly version: string;
  /** Path the profile was loaded from, for messages. */
  readonly source: string;
  /** Line of each item of `grants` in the file, so that a decision can name it. */
  readonly grantLines?: readonly number[];
}
