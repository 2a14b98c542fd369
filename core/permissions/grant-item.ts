import { z } from 'zod';

const oneOrMany = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);

/** The conditions of a grant. All must hold; what they ask for and is not known fails closed. */
const grantConditionsSchema = z.strictObject({
  cost_usd: z.strictObject({ max: z.number().nonnegative() }).optional(),
  risk: z.strictObject({ max: z.enum(['low', 'medium', 'high']) }).optional(),
  channel: z.array(z.string()).optional(),
  room: z.array(z.string()).optional(),
  /** ISO 8601 date and time with an offset; the grant ends then. */
  until: z.string().optional(),
  days: z.array(z.enum(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'])).optional(),
  /** `08:00-18:00`, in `tz`; the end is exclusive. */
  hours: z.string().optional(),
  /** IANA time zone of `days` and `hours`; UTC unless told. */
  tz: z.string().optional(),
});

/** One item of `grants:` in a profile: exactly one of allow, ask, deny, which `compileGrants` checks. */
export const grantItemSchema = z.strictObject({
  allow: oneOrMany.optional(),
  ask: oneOrMany.optional(),
  deny: oneOrMany.optional(),
  on: oneOrMany.default('**'),
  except: z.array(z.string().min(1)).optional(),
  /** Who may decide an `ask`: `role:owner`, `role:admin`, `role:member`, `person:<id>` or `requester`. */
  to: oneOrMany.optional(),
  when: grantConditionsSchema.optional(),
});

export type GrantConditions = z.infer<typeof grantConditionsSchema>;
export type GrantItem = z.infer<typeof grantItemSchema>;
/** A grant as it is written, before defaults. */
export type GrantItemInput = z.input<typeof grantItemSchema>;
