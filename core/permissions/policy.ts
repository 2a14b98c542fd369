import { AppError } from '../kit/errors.ts';
import { sha256 } from '../kit/ids.ts';
import { canonicalJson } from '../kit/json.ts';
import type { Action } from './actions.ts';
import { compileGrant, type Grant } from './grant.ts';
import { type GrantItemInput, grantItemSchema } from './grant-item.ts';

/** The grants of one subject, compiled and indexed; never changed, only replaced. */
export interface Policy {
  /** Whose grants these are: `agent coder`, `role member`. */
  readonly subject: string;
  /** Hash of the grants as they were written; stays with every decision. */
  readonly version: string;
  readonly byAction: ReadonlyMap<Action, readonly Grant[]>;
}

/**
 * Compiles the grants of a subject. No grants at all is a valid policy: it denies everything.
 * @throws AppError `grant.invalid` listing every problem; the profile loader has reported them with positions before.
 */
export function compilePolicy(
  subject: string,
  items: readonly GrantItemInput[],
  sourceOf: (index: number) => string = (index) => `${subject} grant ${index + 1}`,
): Policy {
  const byAction = new Map<Action, Grant[]>();
  const messages: string[] = [];
  const parsed = items.map((item) => grantItemSchema.parse(item));
  parsed.forEach((item, index) => {
    const { grants, problems } = compileGrant(item, sourceOf(index));
    for (const problem of problems) messages.push(`${sourceOf(index)}: ${problem.message}`);
    for (const grant of grants) {
      const list = byAction.get(grant.action);
      if (list === undefined) byAction.set(grant.action, [grant]);
      else list.push(grant);
    }
  });
  if (messages.length > 0) throw new AppError('grant.invalid', `Grants cannot be used: ${messages.join('; ')}.`);
  return { subject, version: sha256(canonicalJson(parsed)).slice(0, 16), byAction };
}
