/** What the words are for: the reason of a denial, or the answer to a question. */
export type PromptSubject = { readonly approvalId: string } | { readonly questionId: string };

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
  | { readonly kind: 'approval'; readonly approvalId: string };
