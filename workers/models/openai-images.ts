import { z } from 'zod';
import { type ImagePort, imageSizes } from '#core/models/image-port.ts';
import { ModelError } from '#core/models/model-port.ts';
import type { ModelRef } from '#core/models/model-ref.ts';
import { endpointOf, type ProviderSettings, providerOf } from '#core/models/providers.ts';
import { failureToModelError, readOpenAiError } from './classify-model-error.ts';
import { keyOf } from './model-endpoint.ts';
import { parseJson } from './read-json.ts';

/** Drawing takes half a minute; nobody waits longer than this. */
const drawMs = 180_000;
/** A picture as base64 and what stands around it. */
const answerBytesMax = 40 << 20;

const answerSchema = z.object({ data: z.array(z.object({ b64_json: z.string().min(1) })).min(1) });

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
        return Buffer.from(picture.b64_json, 'base64');
      } catch (err) {
        if (err instanceof ModelError) throw err;
        if (signal.aborted) throw new ModelError('aborted', 'The call was cancelled.', { cause: err });
        if (late.aborted) throw new ModelError('timeout', `No picture came within ${drawMs / 1000} s.`, { cause: err });
        throw new ModelError('transient', 'The images endpoint could not be reached.', { cause: err });
      }
    },
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
