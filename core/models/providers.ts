import type { Wire } from './model-port.ts';

/** How one endpoint and model differ from the reference behaviour of their wire protocol. Data, never code paths. */
export interface CompatFlags {
  /** Ask for usage figures in the stream (`stream_options.include_usage`); without them usage is estimated. */
  readonly usageInStream: boolean;
  /** The role of the instructions; only OpenAI itself knows `developer`, most others answer it with 400. */
  readonly instructionsRole: 'system' | 'developer';
  readonly maxTokensField: 'max_tokens' | 'max_completion_tokens';
  /** Whether `prompt_cache_key` is known. */
  readonly promptCacheKey: boolean;
  /** How reasoning effort is asked for; `none` sends nothing. */
  readonly effort: 'none' | 'reasoning_effort' | 'thinking' | 'adaptive' | 'thinking_budget';
  /** Whether the model's reasoning text must come back with the tool results of the same turn. */
  readonly replayReasoning: boolean;
  /** Without it GLM sends tool arguments as one late chunk, which looks like a stall to the idle watchdog. */
  readonly toolStream: boolean;
  /** Gemini's compatible endpoint counts thinking only in `total_tokens`. */
  readonly outputFromTotal: boolean;
  /** Whether the model may return encrypted reasoning items for replay. */
  readonly encryptedReasoning: boolean;
  /** Servers that read only `x-api-key` and ignore the SDK's bearer token. */
  readonly apiKeyHeader: boolean;
  /** Whether the model takes pictures; others answer one with 400 and are told in words that there is one. */
  readonly vision: boolean;
}

/** What an operator may set for one provider; keys come from the environment or the vault, never from files. */
export interface ProviderSetting {
  readonly apiKey?: string;
  readonly baseUrl?: string;
  readonly wire?: Wire;
  /** Corrects a flag for an endpoint we do not know. */
  readonly compat?: Partial<CompatFlags>;
}

export type ProviderSettings = Readonly<Record<string, ProviderSetting | undefined>>;

/** One row of the provider table. */
export interface Provider {
  readonly title: string;
  readonly wire: Wire;
  readonly baseUrl: string;
  /** Name of the environment variable that carries the key; absent for local servers. */
  readonly keyEnv?: string;
  /** Name of the environment variable that overrides the base URL. */
  readonly baseUrlEnv?: string;
  /** Runs on the operator's own machine or needs none: costs nothing and needs no key. */
  readonly isLocal: boolean;
  /** The provider's id in the price data; absent where calls are free. */
  readonly priceProvider?: string;
  /** Used when this provider has a key and nobody named a model. */
  readonly defaultModel?: string;
}

/** Every provider a model reference may name. */
export const providers = {
  openai: {
    title: 'OpenAI',
    wire: 'openai.responses',
    baseUrl: 'https://api.openai.com/v1',
    keyEnv: 'OPENAI_API_KEY',
    baseUrlEnv: 'OPENAI_BASE_URL',
    isLocal: false,
    priceProvider: 'openai',
    defaultModel: 'gpt-5.5',
  },
  anthropic: {
    title: 'Anthropic',
    wire: 'anthropic.messages',
    baseUrl: 'https://api.anthropic.com',
    keyEnv: 'ANTHROPIC_API_KEY',
    baseUrlEnv: 'ANTHROPIC_BASE_URL',
    isLocal: false,
    priceProvider: 'anthropic',
    defaultModel: 'claude-sonnet-5',
  },
  openrouter: {
    title: 'OpenRouter',
    wire: 'openai.chat',
    baseUrl: 'https://openrouter.ai/api/v1',
    keyEnv: 'OPENROUTER_API_KEY',
    baseUrlEnv: 'OPENROUTER_BASE_URL',
    isLocal: false,
    priceProvider: 'openrouter',
    defaultModel: 'anthropic/claude-sonnet-5',
  },
  gemini: {
    title: 'Gemini',
    wire: 'openai.chat',
    baseUrl: 'https://generativelanguage.googleapis.com/v1beta/openai',
    keyEnv: 'GEMINI_API_KEY',
    baseUrlEnv: 'GEMINI_BASE_URL',
    isLocal: false,
    priceProvider: 'google',
    defaultModel: 'gemini-3.5-flash',
  },
  groq: {
    title: 'Groq',
    wire: 'openai.chat',
    baseUrl: 'https://api.groq.com/openai/v1',
    keyEnv: 'GROQ_API_KEY',
    baseUrlEnv: 'GROQ_BASE_URL',
    isLocal: false,
    priceProvider: 'groq',
    defaultModel: 'openai/gpt-oss-120b',
  },
  glm: {
    title: 'GLM',
    wire: 'openai.chat',
    baseUrl: 'https://api.z.ai/api/paas/v4',
    keyEnv: 'ZAI_API_KEY',
    baseUrlEnv: 'ZAI_BASE_URL',
    isLocal: false,
    priceProvider: 'zai',
    defaultModel: 'glm-5.3',
  },
  ollama: {
    title: 'Ollama',
    wire: 'openai.chat',
    baseUrl: 'http://127.0.0.1:11434/v1',
    baseUrlEnv: 'OLLAMA_BASE_URL',
    isLocal: true,
  },
  vllm: {
    title: 'vLLM',
    wire: 'openai.chat',
    baseUrl: 'http://127.0.0.1:8000/v1',
    baseUrlEnv: 'VLLM_BASE_URL',
    isLocal: true,
  },
  demo: { title: 'Demo', wire: 'demo', baseUrl: '', isLocal: true, defaultModel: 'demo' },
} as const satisfies Record<string, Provider>;

export type ProviderName = keyof typeof providers;

export function isProviderName(name: string): name is ProviderName {
  return Object.hasOwn(providers, name);
}

/** The row of a provider, with the optional columns readable. */
export function providerOf(name: ProviderName): Provider {
  return providers[name];
}

/** Where and how one provider is called, after the operator's settings. */
export interface Endpoint {
  readonly provider: ProviderName;
  readonly wire: Wire;
  readonly baseUrl: string;
  readonly apiKey: string | undefined;
  readonly compatOverrides: Partial<CompatFlags>;
}

/**
 * An OpenAI base URL that is not OpenAI's own gets the chat protocol unless settings say otherwise: proxies and
 * compatible servers all speak that one, and few speak the newer one.
 */
export function endpointOf(name: ProviderName, settings: ProviderSettings): Endpoint {
  const provider = providerOf(name);
  const setting = settings[name] ?? {};
  const baseUrl = setting.baseUrl ?? provider.baseUrl;
  const isForeignOpenAi = name === 'openai' && new URL(baseUrl).hostname !== 'api.openai.com';
  return {
    provider: name,
    wire: setting.wire ?? (isForeignOpenAi ? 'openai.chat' : provider.wire),
    baseUrl,
    apiKey: setting.apiKey,
    compatOverrides: setting.compat ?? {},
  };
}

const baseFlags: CompatFlags = {
  usageInStream: true,
  instructionsRole: 'system',
  maxTokensField: 'max_tokens',
  promptCacheKey: false,
  effort: 'none',
  replayReasoning: false,
  toolStream: false,
  outputFromTotal: false,
  encryptedReasoning: false,
  apiKeyHeader: false,
  vision: false,
};

/** Models that see, by the names they go under at hosts that carry many vendors' models. */
const seeingModels =
  /(^|\/)(gpt-4o|gpt-4\.1|gpt-4-turbo|gpt-[5-9]|chatgpt-4o|o1(?!-mini|-preview)|o3(?!-mini)|o[4-9]|claude-|gemini-|gemma-?[3-9]|llama-?4|pixtral|mistral-(small|medium)-?3|llava|bakllava|moondream|minicpm-v|internvl|glm-\d(\.\d)?v|grok-[4-9])|vision|[-_.\d]vl([-_:.]|$)/i;

interface CompatRule {
  readonly provider?: ProviderName;
  readonly host?: RegExp;
  readonly model?: RegExp;
  readonly flags: Partial<CompatFlags>;
}

/** Later rules win. A rule counts when everything it names matches. */
const compatRules: readonly CompatRule[] = [
  { model: seeingModels, flags: { vision: true } },
  { host: /(^|\.)api\.openai\.com$/, flags: { instructionsRole: 'developer', promptCacheKey: true } },
  // OpenAI's reasoning models refuse `max_tokens` on every host that carries them.
  { model: /(^|\/)(o\d|gpt-[5-9])/, flags: { maxTokensField: 'max_completion_tokens' } },
  {
    provider: 'openai',
    model: /^(o\d|gpt-[5-9](?!.*-chat))/,
    flags: { effort: 'reasoning_effort', encryptedReasoning: true },
  },
  { provider: 'groq', model: /gpt-oss|qwen3/, flags: { effort: 'reasoning_effort' } },
  { provider: 'gemini', flags: { outputFromTotal: true, effort: 'reasoning_effort' } },
  { provider: 'openrouter', flags: { replayReasoning: true } },
  { provider: 'glm', flags: { replayReasoning: true, toolStream: true, effort: 'thinking' } },
  { provider: 'anthropic', flags: { effort: 'adaptive' } },
  // Models before 4.6 know only a token budget for thinking.
  {
    provider: 'anthropic',
    model: /^claude-(3|opus-4-[0-5]|sonnet-4-[0-5]|haiku-4)/,
    flags: { effort: 'thinking_budget' },
  },
  { provider: 'anthropic', host: /^(?!api\.anthropic\.com$)/, flags: { apiKeyHeader: true } },
];

/** The flags of one model at one endpoint: defaults, then matching rules in order, then the operator's corrections. */
export function compatFlags(endpoint: Endpoint, model: string): CompatFlags {
  const host = endpoint.baseUrl === '' ? '' : new URL(endpoint.baseUrl).hostname;
  let flags = baseFlags;
  for (const rule of compatRules) {
    if (rule.provider !== undefined && rule.provider !== endpoint.provider) continue;
    if (rule.host !== undefined && !rule.host.test(host)) continue;
    if (rule.model !== undefined && !rule.model.test(model)) continue;
    flags = { ...flags, ...rule.flags };
  }
  return { ...flags, ...endpoint.compatOverrides };
}
