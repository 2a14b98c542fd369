import { z } from 'zod';
import { jsonSchema } from '../kit/json.ts';
import type { ModelMessage, Part } from './model-port.ts';

/** Reads a stored part; what we wrote ourselves is parsed again, because a database outlives the code that filled it. */
export const partSchema: z.ZodType<Part> = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text'), text: z.string() }),
  z.object({ type: z.literal('image'), mime: z.string(), dataBase64: z.string() }),
  z.object({ type: z.literal('reasoning'), text: z.string() }),
  z.object({
    type: z.literal('tool_call'),
    id: z.string(),
    name: z.string(),
    rawArguments: z.string(),
    parsed: z.discriminatedUnion('ok', [
      z.object({ ok: z.literal(true), arguments: jsonSchema }),
      z.object({ ok: z.literal(false), why: z.enum(['invalid_json', 'truncated']) }),
    ]),
  }),
  z.object({ type: z.literal('tool_result'), callId: z.string(), text: z.string(), isError: z.boolean() }),
  z.object({ type: z.literal('refusal'), text: z.string() }),
]);

/** Reads the provider-native blocks stored beside an answer. */
export const nativeSchema: z.ZodType<NonNullable<ModelMessage['native']>> = z.object({
  wire: z.enum(['openai.chat', 'openai.responses', 'anthropic.messages', 'demo']),
  model: z.string(),
  blocks: jsonSchema,
});
