import { describe, expect, test } from 'vitest';
import { chooseDefaultModel, missingKey, modelRef, parseModelRef, resolveChain } from '#core/models/model-ref.ts';
import { compatFlags, endpointOf } from '#core/models/providers.ts';

const demo = modelRef('demo', 'demo');

test.each([
  ['openai:gpt-5.5', 'openai:gpt-5.5'],
  ['openrouter:anthropic/claude-sonnet-5', 'openrouter:anthropic/claude-sonnet-5'],
  ['ollama:llama3.2:3b', 'ollama:llama3.2:3b'],
  ['gpt-5.5', 'openai:gpt-5.5'],
  ['o4-mini', 'openai:o4-mini'],
  ['chatgpt-4o-latest', 'openai:chatgpt-4o-latest'],
  ['claude-sonnet-5', 'anthropic:claude-sonnet-5'],
  ['gemini-3.5-flash', 'gemini:gemini-3.5-flash'],
  ['glm-5.3', 'glm:glm-5.3'],
  ['demo', 'demo'],
  ['default', 'demo'],
])('%s names %s', (text, expected) => {
  expect(parseModelRef(text, demo).text).toBe(expected);
});

test.each(['llama3.2:3b', 'openai:', 'nonsense', '', 'toString:x'])(
  '"%s" names no model and the error says how to write one',
  (text) => {
    expect(() => parseModelRef(text, demo)).toThrow(
      expect.objectContaining({ code: 'model.unknown', mend: expect.stringContaining('provider:model') }),
    );
  },
);

test('a chain names each model once, in order', () => {
  const chain = resolveChain('default', ['gpt-5.5', 'demo', 'openai:gpt-5.5'], demo);
  expect(chain.map((ref) => ref.text)).toEqual(['demo', 'openai:gpt-5.5']);
});

describe('the default model', () => {
  test('is the demo without any key, and a real one with a key', () => {
    expect(chooseDefaultModel({}, undefined).text).toBe('demo');
    expect(chooseDefaultModel({ anthropic: { apiKey: 'k' } }, undefined).text).toMatch(/^anthropic:claude-/);
    expect(chooseDefaultModel({ openai: { apiKey: '' } }, 'default').text).toBe('demo');
  });

  test('is what the operator configured', () => {
    expect(chooseDefaultModel({ anthropic: { apiKey: 'k' } }, 'ollama:qwen3').text).toBe('ollama:qwen3');
  });
});

test('a missing key is named by its variable; local providers need none', () => {
  expect(missingKey(modelRef('openai', 'gpt-5'), {})).toContain('OPENAI_API_KEY');
  expect(missingKey(modelRef('ollama', 'qwen3'), {})).toBeUndefined();
  expect(missingKey(modelRef('openai', 'gpt-5'), { openai: { apiKey: 'k' } })).toBeUndefined();
});

describe('compat flags', () => {
  test('only OpenAI itself gets the developer role, the cache key and the Responses protocol', () => {
    const own = endpointOf('openai', {});
    expect(own.wire).toBe('openai.responses');
    expect(compatFlags(own, 'gpt-5.5')).toMatchObject({ instructionsRole: 'developer', promptCacheKey: true });
    const proxy = endpointOf('openai', { openai: { baseUrl: 'http://proxy.test/v1' } });
    expect(proxy.wire).toBe('openai.chat');
    expect(compatFlags(proxy, 'gpt-5.5')).toMatchObject({ instructionsRole: 'system', promptCacheKey: false });
  });

  test('reasoning models get the field for the limit they accept', () => {
    expect(compatFlags(endpointOf('openrouter', {}), 'openai/gpt-5.5').maxTokensField).toBe('max_completion_tokens');
    expect(compatFlags(endpointOf('groq', {}), 'llama-3.3-70b-versatile').maxTokensField).toBe('max_tokens');
  });

  test('chat-tuned models are not asked to reason', () => {
    const endpoint = endpointOf('openai', {});
    expect(compatFlags(endpoint, 'gpt-5-chat-latest').effort).toBe('none');
    expect(compatFlags(endpoint, 'gpt-5.5').effort).toBe('reasoning_effort');
    expect(compatFlags(endpoint, 'gpt-4o').encryptedReasoning).toBe(false);
  });

  test.each([
    ['openai', 'gpt-4o-mini', true],
    ['openai', 'gpt-5.5', true],
    ['openai', 'gpt-3.5-turbo', false],
    ['openai', 'o3-mini', false],
    ['openai', 'o4-mini', true],
    ['anthropic', 'claude-sonnet-5', true],
    ['openrouter', 'anthropic/claude-sonnet-5', true],
    ['openrouter', 'deepseek/deepseek-v4', false],
    ['gemini', 'gemini-3.5-flash', true],
    ['groq', 'meta-llama/llama-4-scout-17b', true],
    ['groq', 'openai/gpt-oss-120b', false],
    ['glm', 'glm-5.3', false],
    ['glm', 'glm-4.6v', true],
    ['ollama', 'qwen3-vl:8b', true],
    ['ollama', 'llama3.2-vision', true],
    ['ollama', 'llama3.2', false],
  ] as const)('%s:%s takes pictures: %s', (provider, model, sees) => {
    expect(compatFlags(endpointOf(provider, {}), model).vision).toBe(sees);
  });

  test('an operator can correct a flag for an endpoint we do not know', () => {
    const endpoint = endpointOf('vllm', { vllm: { compat: { usageInStream: false } } });
    expect(compatFlags(endpoint, 'm').usageInStream).toBe(false);
  });

  test('the key header is sent only to hosts that are not the vendor itself', () => {
    expect(compatFlags(endpointOf('anthropic', {}), '').apiKeyHeader).toBe(false);
    const proxy = endpointOf('anthropic', { anthropic: { baseUrl: 'http://proxy.test' } });
    expect(compatFlags(proxy, '').apiKeyHeader).toBe(true);
  });
});
