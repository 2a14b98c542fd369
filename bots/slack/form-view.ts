import { z } from 'zod';
import type { FormSpec } from '../channel.ts';
import type { Interaction } from './interaction-token.ts';

/** Marks the forms of this channel among all views of the app. */
export const formCallbackId = 'switchyard_form';
const titleMax = 24;
const labelMax = 2_000;
const inputMax = 3_000;

const metadataSchema = z.object({
  token: z.string(),
  room: z.string(),
  thread: z.string().optional(),
  kind: z.enum(['dm', 'group', 'channel']),
});

/** What a form carries along, so that its answer says which question and which conversation it belongs to. */
export type FormMetadata = z.infer<typeof metadataSchema>;

export function readFormMetadata(text: string): FormMetadata | undefined {
  try {
    return metadataSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** A form as a modal view of Slack. */
export function formView(form: FormSpec, { room, thread, kind }: Interaction): Record<string, unknown> {
  const metadata: FormMetadata = { token: form.token, room, kind, ...(thread === undefined ? {} : { thread }) };
  return {
    type: 'modal',
    callback_id: formCallbackId,
    private_metadata: JSON.stringify(metadata),
    title: plain(form.title, titleMax),
    submit: plain(form.submitLabel, titleMax),
    close: plain('Cancel', titleMax),
    blocks: form.fields.map((field) => ({
      type: 'input',
      block_id: field.name,
      optional: !field.isRequired,
      label: plain(field.label, labelMax),
      element: {
        type: 'plain_text_input',
        action_id: 'value',
        multiline: field.isLong,
        max_length: Math.min(Math.max(field.charsMax, 1), inputMax),
      },
    })),
  };
}

function plain(text: string, max: number): { readonly type: 'plain_text'; readonly text: string } {
  const clean = text.toWellFormed().trim() || '·';
  return { type: 'plain_text', text: clean.length > max ? `${clean.slice(0, max - 1).toWellFormed()}…` : clean };
}
