import { z } from 'zod';
import { type ImagePort, imageSizes } from '#core/models/image-port.ts';
import { ModelError, type Usage } from '#core/models/model-port.ts';
import type { ModelRef } from '#core/models/model-ref.ts';
import { endpointOf, type ProviderSettings, providerOf } from '#core/models/providers.ts';
import { failureToModelError, readOpenAiError } from './classify-model-error.ts';
import { keyOf } from './model-endpoint.ts';
import { parseJson } from './read-json.ts';

/** Drawing takes half a minute; nobody waits longer than this. */
const drawMs = 180_000;
/** A picture as base64 and what stands around it. */
const answerBytesMax = 40 << 20;

/** Far more than a picture takes: what says more is no figure to book by. */
const tokensMax = 10_000_000;
const count = z.int().min(0).max(tokensMax);

const answerSchema = z.object({
  data: z.array(z.object({ b64_json: z.string().min(1) })).min(1),
  usage: z.unknown().optional(),
});

const usageSchema = z.object({
  input_tokens: count,
  output_tokens: count.min(1),
  input_tokens_details: z.object({ cached_tokens: count.optional() }).nullish(),
  output_tokens_details: z.object({ image_tokens: count.optional() }).nullish(),
});

/** The images endpoint of OpenAI and of whoever offers the same. Addresses in an answer are not fetched. */
export function createOpenAiImages(ref: ModelRef, settings: ProviderSettings): ImagePort {
  const endpoint = endpointOf(ref.provider, settings);
  return {
    draw: async ({ prompt, shape }, signal) => {
      const key = keyOf(endpoint, providerOf(ref.provider).isLocal);
      const late = AbortSignal.timeout(drawMs);
      try {
        const response = await fetch(`${endpoint.baseUrl.replace(/\/$/, '')}/images/generations`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
          body: JSON.stringify({
            model: ref.model,
            prompt,
            n: 1,
            size: imageSizes[shape],
            // Newer models answer so without being asked, and refuse the field.
            ...(/^dall-e/.test(ref.model) ? { response_format: 'b64_json' } : {}),
          }),
          redirect: 'error',
          signal: AbortSignal.any([signal, late]),
        });
        const text = await readCapped(response);
        if (!response.ok) throw refused(response.status, text);
        const answer = answerSchema.safeParse(parseJson(text)?.value);
        const [picture] = answer.success ? answer.data.data : [];
        if (picture === undefined) throw new ModelError('protocol', 'The answer has no picture in it.');
        return { bytes: Buffer.from(picture.b64_json, 'base64'), usage: usageOf(answer.data?.usage) };
      } catch (err) {
        if (err instanceof ModelError) throw err;
        if (signal.aborted) throw new ModelError('aborted', 'The call was cancelled.', { cause: err });
        if (late.aborted) throw new ModelError('timeout', `No picture came within ${drawMs / 1000} s.`, { cause: err });
        throw new ModelError('transient', 'The images endpoint could not be reached.', { cause: err });
      }
    },
  };
}

/** The vendor's own figures; without details all that came out is taken for picture. */
function usageOf(value: unknown): Usage | undefined {
  const { data } = usageSchema.safeParse(value);
  if (data === undefined) return undefined;
  const { input_tokens: input, output_tokens: output } = data;
  return {
    input,
    cacheRead: Math.min(data.input_tokens_details?.cached_tokens ?? 0, input),
    cacheWrite: 0,
    output,
    outputImage: Math.min(data.output_tokens_details?.image_tokens ?? output, output),
    reasoning: 0,
    source: 'provider',
  };
}

function refused(status: number, text: string): ModelError {
  const error = parseJson(text)?.value ?? { message: text.slice(0, 500) };
  return failureToModelError({ ...readOpenAiError(error), status });
}

async function readCapped(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > answerBytesMax) throw new ModelError('protocol', 'The answer is larger than a picture.');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
