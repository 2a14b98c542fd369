import { AppError } from '../kit/errors.ts';
import { isProviderName, type ProviderName, type ProviderSettings, providerOf, providers } from './providers.ts';

/** A model at a provider. `text` is its one canonical spelling, `provider:model`, used in settings, logs and rows. */
export interface ModelRef {
  readonly provider: ProviderName;
  /** The provider's own model id. */
  readonly model: string;
  readonly text: string;
}

/** Vendors that can be told from a bare id; other ids need their provider in front. */
const barePrefixes: ReadonlyArray<readonly [RegExp, ProviderName]> = [
  [/^(gpt-|o\d|chatgpt)/, 'openai'],
  [/^claude-/, 'anthropic'],
  [/^gemini-/, 'gemini'],
  [/^glm-/i, 'glm'],
];

export function modelRef(provider: ProviderName, model: string): ModelRef {
  return { provider, model, text: provider === 'demo' ? 'demo' : `${provider}:${model}` };
}

/**
 * Reads `openai:<id>`, `anthropic:<id>`, `<provider>:<id>`, `demo`, a bare id with a known prefix, or `default`, which
 * stands for `defaultModel`.
 * @throws AppError `model.unknown` with the accepted spellings.
 */
export function parseModelRef(text: string, defaultModel: ModelRef): ModelRef {
  const spec = text.trim();
  if (spec === 'default') return defaultModel;
  if (spec === 'demo' || spec === 'demo:demo') return modelRef('demo', 'demo');
  const colon = spec.indexOf(':');
  const head = colon === -1 ? '' : spec.slice(0, colon);
  // An Ollama id such as `llama3.2:3b` has a colon of its own, so only a known provider name counts as one.
  if (isProviderName(head) && head !== 'demo' && spec.length > colon + 1) return modelRef(head, spec.slice(colon + 1));
  const bare = barePrefixes.find(([pattern]) => pattern.test(spec));
  if (bare !== undefined) return modelRef(bare[1], spec);
  throw new AppError('model.unknown', `"${spec.slice(0, 100)}" does not name a model.`, {
    mend: `Write it as provider:model with one of ${Object.keys(providers).join(', ')}, for example openai:gpt-5.5, or use "default".`,
  });
}

/** The model to call and those to fall back on, in order and without repetition. */
export function resolveChain(model: string, fallbacks: readonly string[], defaultModel: ModelRef): ModelRef[] {
  const chain = new Map<string, ModelRef>();
  for (const text of [model, ...fallbacks]) {
    const ref = parseModelRef(text, defaultModel);
    if (!chain.has(ref.text)) chain.set(ref.text, ref);
  }
  return [...chain.values()];
}

/**
 * What `default` means: the operator's choice, else the first provider (in the table's order) that has a key, else the
 * built-in demo model, so that a fresh clone answers at all.
 * @throws AppError `model.unknown` when the configured text names no model.
 */
export function chooseDefaultModel(settings: ProviderSettings, configured: string | undefined): ModelRef {
  const demo = modelRef('demo', 'demo');
  if (configured !== undefined && configured !== 'default') return parseModelRef(configured, demo);
  for (const name of Object.keys(providers)) {
    if (!isProviderName(name)) continue;
    const { defaultModel, isLocal } = providerOf(name);
    const key = settings[name]?.apiKey;
    if (!isLocal && defaultModel !== undefined && key !== undefined && key !== '') return modelRef(name, defaultModel);
  }
  return demo;
}

/**
 * Whether this provider can be called at all with these settings: local ones always, others with a key.
 * @returns the mend to show when not.
 */
export function missingKey(ref: ModelRef, settings: ProviderSettings): string | undefined {
  const provider = providerOf(ref.provider);
  if (provider.isLocal || (settings[ref.provider]?.apiKey ?? '') !== '') return undefined;
  return `Set ${provider.keyEnv ?? 'its API key'} and start again, or choose another model.`;
}
