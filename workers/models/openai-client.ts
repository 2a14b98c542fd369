import OpenAI from 'openai';
import { type Endpoint, providerOf } from '#core/models/providers.ts';
import { guardedFetch } from './guard.ts';
import { keyOf, silentLogger } from './model-endpoint.ts';

/** The SDK's own timer must never fire before the guard's, which also knows why. */
const sdkTimeoutMs = 2 ** 31 - 1;

/**
 * A client for one endpoint. Everything the SDK would read from the environment is given, so that a worker's
 * environment cannot redirect traffic; retries are policy above the port, so the SDK makes none.
 */
export function createOpenAiClient(endpoint: Endpoint): OpenAI {
  return new OpenAI({
    apiKey: keyOf(endpoint, providerOf(endpoint.provider).isLocal),
    adminAPIKey: null,
    baseURL: endpoint.baseUrl,
    organization: null,
    project: null,
    webhookSecret: null,
    maxRetries: 0,
    timeout: sdkTimeoutMs,
    fetch: guardedFetch,
    logger: silentLogger,
    logLevel: 'off',
  });
}
