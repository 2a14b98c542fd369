import type { ModelPort } from '#core/models/model-port.ts';
import type { ModelRef } from '#core/models/model-ref.ts';
import { type Endpoint, endpointOf, type ProviderSettings } from '#core/models/providers.ts';

/** Finds the port of a model's provider. */
export type PortFor = (ref: ModelRef) => Promise<ModelPort>;

/**
 * One client per provider, made at the first call and kept: an SDK costs 120 to 150 ms and up to 35 MB to load, and a
 * kept client keeps its connections.
 */
export function createModelPorts(settings: ProviderSettings): PortFor {
  const ports = new Map<string, Promise<ModelPort>>();
  return (ref) => {
    const known = ports.get(ref.provider);
    if (known !== undefined) return known;
    const port = openPort(endpointOf(ref.provider, settings));
    ports.set(ref.provider, port);
    // A provider without a key must not stay broken in memory: its error is made anew at each call.
    port.catch(() => ports.delete(ref.provider));
    return port;
  };
}

async function openPort(endpoint: Endpoint): Promise<ModelPort> {
  switch (endpoint.wire) {
    case 'demo':
      return (await import('./demo-model.ts')).createDemoModel();
    case 'openai.chat':
      return (await import('./openai-chat.ts')).createOpenAiChat(endpoint);
    case 'openai.responses':
      return (await import('./openai-responses.ts')).createOpenAiResponses(endpoint);
    case 'anthropic.messages':
      return (await import('./anthropic-messages.ts')).createAnthropicMessages(endpoint);
  }
}
