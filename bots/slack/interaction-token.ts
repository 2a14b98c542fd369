import { z } from 'zod';

const schema = z.object({
  what: z.enum(['command', 'press', 'form']),
  /** Where answers may be posted to: five times within 30 minutes. */
  url: z.string().optional(),
  /** What opens a form, within three seconds. */
  trigger: z.string().optional(),
  user: z.string(),
  room: z.string(),
  thread: z.string().optional(),
  kind: z.enum(['dm', 'group', 'channel']),
  /** Milliseconds since the epoch. */
  at: z.number(),
});

/** What a press or a command allows us to do in answer. A secret: whoever has it can post in our name. */
export type Interaction = z.infer<typeof schema>;

/** Answers are possible a little shorter than Slack's 30 minutes, so that none is sent in vain. */
const answerableMs = 29 * 60_000;

export function encodeInteraction(interaction: Interaction): string {
  return Buffer.from(JSON.stringify(interaction)).toString('base64url');
}

/** @returns undefined for anything that is not such a token. */
export function decodeInteraction(token: string): Interaction | undefined {
  try {
    return schema.safeParse(JSON.parse(Buffer.from(token, 'base64url').toString('utf8'))).data;
  } catch {
    return undefined;
  }
}

/** Whether answers to its address are still taken. */
export function isAnswerable(interaction: Interaction, now: number): boolean {
  return interaction.url !== undefined && now - interaction.at < answerableMs;
}
