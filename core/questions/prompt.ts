import { z } from 'zod';

/** A secret whose value is asked for, and who may then use it where; absent: as it was. */
export const askedSecretSchema = z.object({
  name: z.string(),
  agents: z.array(z.string()).optional(),
  hosts: z.array(z.string()).optional(),
});

type AskedSecret = z.infer<typeof askedSecretSchema>;

/** What the words are for: the reason of a denial, the answer to a question, or the value of a secret. */
export type PromptSubject =
  | { readonly approvalId: string }
  | { readonly questionId: string }
  | { readonly secret: AskedSecret };

/** Words that are asked of one person. */
export interface Prompt {
  readonly id: string;
  readonly personId: string;
  readonly subject: PromptSubject;
}

/** What a message may be the answer to. */
export type Awaited =
  | { readonly kind: 'prompt'; readonly promptId: string }
  | { readonly kind: 'question'; readonly questionId: string }
  | { readonly kind: 'approval'; readonly approvalId: string }
  /** It was taken before, by another process. */
  | { readonly kind: 'ended' };
