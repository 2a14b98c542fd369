import { ModelError, type ModelMessage, type ModelTool, type Part, type Wire } from '#core/models/model-port.ts';
import type { Endpoint } from '#core/models/providers.ts';

/** The name under which an endpoint's native blocks may be replayed. */
export function nativeModelOf(endpoint: Endpoint, model: string): string {
  return `${endpoint.provider}:${model}`;
}

/**
 * The provider's own blocks of a message, if this wire and model made them. Signatures and encrypted reasoning are valid
 * only where they came from; everybody else gets the neutral parts.
 */
export function ownBlocks(message: ModelMessage, wire: Wire, nativeModel: string): unknown {
  const { native } = message;
  return native !== undefined && native.wire === wire && native.model === nativeModel ? native.blocks : undefined;
}

/** The text of a message's text and refusal parts, in order. */
export function plainText(parts: readonly Part[]): string {
  return parts
    .map((part) => (part.type === 'text' || part.type === 'refusal' ? part.text : ''))
    .filter((text) => text !== '')
    .join('\n');
}

/** A tool's JSON Schema without `$schema`: some compatible endpoints answer the keyword with 400 and none needs it. */
export function toolSchema(tool: ModelTool): { type: 'object'; [key: string]: unknown } {
  const { parameters } = tool;
  const fields = typeof parameters === 'object' && parameters !== null && !Array.isArray(parameters) ? parameters : {};
  const { $schema: _, ...schema } = fields;
  return { ...schema, type: 'object' };
}

/**
 * The key to send. Local servers need none but the SDK refuses an empty one.
 * @throws ModelError `auth` when a provider that needs a key has none.
 */
export function keyOf(endpoint: Endpoint, isLocal: boolean): string {
  const key = endpoint.apiKey ?? '';
  if (key !== '') return key;
  if (isLocal) return 'none';
  throw new ModelError('auth', `No API key is set for ${endpoint.provider}.`, { code: 'key_missing' });
}

/** Both SDKs log request and response bodies through their logger; ours come from the guard and the classifier. */
export const silentLogger = { error: noop, warn: noop, info: noop, debug: noop };

function noop(): void {
  // Deliberately nothing: see `silentLogger`.
}
