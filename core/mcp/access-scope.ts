/** What a key of a program outside may be used for. */
export const accessScopes = [
  'runs:write',
  'runs:read',
  'memory:read',
  'memory:write',
  'approvals:read',
  'approvals:decide',
  'messages:send',
] as const;

export type AccessScope = (typeof accessScopes)[number];

export function isAccessScope(text: string): text is AccessScope {
  return accessScopes.some((scope) => scope === text);
}
