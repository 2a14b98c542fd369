import { isAppError } from '#core/kit/errors.ts';
import { type Micros, usdToMicros } from '#core/kit/money.ts';
import { nearestWord } from '#core/kit/nearest-word.ts';
import { chooseDefaultModel, type ModelRef, missingKey, parseModelRef } from '#core/models/model-ref.ts';
import type { TokenRates } from '#core/models/price.ts';
import { isProviderName, type ProviderSetting, type ProviderSettings, providerOf } from '#core/models/providers.ts';
import type { ConfigFile } from './config-file.ts';
import { providerNames } from './settings-schema.ts';

/** What draws pictures, and what one costs where the file says so. */
export interface ImageModel {
  readonly ref: ModelRef;
  readonly priceMicros: Micros | undefined;
}

/** Keys, addresses and wires of the model providers. What is wrong is added to `problems`. */
export function readProviders(
  file: ConfigFile,
  text: (name: string | undefined) => string | undefined,
  problems: string[],
): ProviderSettings {
  const settings: Record<string, ProviderSetting> = {};
  for (const name of providerNames()) {
    const { keyEnv, baseUrlEnv } = providerOf(name);
    const own = file.models.providers[name];
    const apiKey = text(keyEnv);
    const baseUrl = text(baseUrlEnv) ?? own?.base_url;
    settings[name] = {
      ...(apiKey === undefined ? {} : { apiKey }),
      ...(baseUrl === undefined ? {} : { baseUrl }),
      ...(own?.wire === undefined ? {} : { wire: own.wire }),
      ...(own?.compat === undefined ? {} : { compat: withoutUndefined(own.compat) }),
    };
  }
  for (const name of Object.keys(file.models.providers)) {
    if (isProviderName(name)) continue;
    const near = nearestWord(name, providerNames());
    problems.push(
      `switchyard.yaml: models.providers.${name} is not a provider. ${near === undefined ? `There are ${providerNames().join(', ')}.` : `Did you mean ${near}?`}`,
    );
  }
  return settings;
}

/** zod leaves optional keys typed as possibly undefined; the receiving types tell absent from undefined. */
function withoutUndefined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}

/** The model of agents that name none. What is wrong is added to `problems`. */
export function readModel(configured: string | undefined, settings: ProviderSettings, problems: string[]): ModelRef {
  try {
    const model = chooseDefaultModel(settings, configured);
    const missing = missingKey(model, settings);
    if (missing !== undefined)
      problems.push(`The default model is ${model.text}, but its provider has no key. ${missing}`);
    return model;
  } catch (err) {
    if (!isAppError(err)) throw err;
    problems.push(err.text);
    return chooseDefaultModel({}, 'demo');
  }
}

/** The model that draws pictures; undefined where the file names none. What is wrong is added to `problems`. */
export function readImageModel(file: ConfigFile, defaultModel: ModelRef, problems: string[]): ImageModel | undefined {
  const { images } = file.models;
  if (images === undefined) return undefined;
  try {
    return {
      ref: parseModelRef(images.model, defaultModel),
      priceMicros: images.usd_per_image === undefined ? undefined : usdToMicros(images.usd_per_image),
    };
  } catch (err) {
    if (!isAppError(err)) throw err;
    problems.push(`switchyard.yaml: models.images.model: ${err.text}`);
    return undefined;
  }
}

/** Prices of the file, by model, in micro-dollars for a million tokens. */
export function readPrices(file: ConfigFile): Record<string, TokenRates> {
  return Object.fromEntries(
    Object.entries(file.models.prices).map(([model, price]) => [
      model,
      {
        inputMicros: usdToMicros(price.input),
        outputMicros: usdToMicros(price.output),
        ...(price.cache_read === undefined ? {} : { cacheReadMicros: usdToMicros(price.cache_read) }),
        ...(price.cache_write === undefined ? {} : { cacheWriteMicros: usdToMicros(price.cache_write) }),
      },
    ]),
  );
}
