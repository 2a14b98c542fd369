import { z } from 'zod';
import { conversationSchema } from '../sessions/origin.ts';

/** What an offer is about, and what it takes to carry it out. */
const subjectSchema = z.discriminatedUnion('kind', [
  /** A stranger asks to be let in. */
  z.object({ kind: z.literal('admit'), identityId: z.string(), conversation: conversationSchema }),
  /** An account that belongs to one person is to become another's. */
  z.object({
    kind: z.literal('merge'),
    identityId: z.string(),
    fromPersonId: z.string(),
    toPersonId: z.string(),
    conversation: conversationSchema,
  }),
  /** A command that came long after it was written. */
  z.object({
    kind: z.literal('late_command'),
    name: z.string(),
    args: z.string(),
    messageId: z.string().optional(),
    files: z.array(
      z.object({
        name: z.string(),
        mime: z.string().exactOptional(),
        bytes: z.number().exactOptional(),
        fetchKey: z.string(),
      }),
    ),
  }),
  /** Tools of an MCP server that agents may use from then on, each exactly as it was shown. */
  z.object({
    kind: z.literal('mcp_tools'),
    server: z.string(),
    tools: z.array(z.object({ name: z.string(), digest: z.string() })),
  }),
  /** A skill that agents may use from then on, exactly as it was shown. */
  z.object({
    kind: z.literal('skill_add'),
    source: z.string(),
    name: z.string(),
    digest: z.string(),
    commit: z.string().exactOptional(),
    /** The one agent it is for; absent for the project's skills. */
    agent: z.string().exactOptional(),
  }),
  /** A skill to be deleted. */
  z.object({
    kind: z.literal('skill_remove'),
    name: z.string(),
    digest: z.string().exactOptional(),
    agent: z.string().exactOptional(),
  }),
]);

export type OfferSubject = z.infer<typeof subjectSchema>;

/** What is stored: the subject, and where its cards are, so that they can be rewritten. */
export const offerPayloadSchema = z.object({
  subject: subjectSchema,
  markdown: z.string(),
  cards: z.array(z.object({ key: z.string(), conversation: conversationSchema })),
});

export type OfferPayload = z.infer<typeof offerPayloadSchema>;

/** Something a person may start or refuse by a button, once. */
export interface Offer extends OfferPayload {
  readonly id: string;
  /** The one who may answer; undefined for every owner and admin. */
  readonly personId: string | undefined;
  readonly state: 'open' | 'accepted' | 'refused';
  readonly isOverdue: boolean;
  readonly settledByName: string | undefined;
}

/** The words on the buttons: accepting, refusing. */
export function buttonLabels(kind: OfferSubject['kind']): readonly [string, string] {
  switch (kind) {
    case 'admit':
      return ['Let in', 'Refuse'];
    case 'merge':
      return ['Join them', 'Refuse'];
    case 'late_command':
      return ['Do it now', 'Drop it'];
    case 'mcp_tools':
      return ['Allow', 'Refuse'];
    case 'skill_add':
      return ['Let it in', 'Refuse'];
    case 'skill_remove':
      return ['Delete', 'Keep it'];
  }
}
