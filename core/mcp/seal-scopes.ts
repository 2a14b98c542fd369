/** What the sealed text of a person's grant is bound to. */
export function grantScope(personId: string, issuer: string, resource: string): string {
  return `mcp-grant|${personId}|${issuer}|${resource}`;
}

/** What our sealed registration at an authorization server is bound to. */
export function clientScope(issuer: string, redirectUri: string): string {
  return `mcp-client|${issuer}|${redirectUri}`;
}

/** What the sealed draft of a login is bound to. */
export function loginScope(id: string, personId: string): string {
  return `mcp-login|${id}|${personId}`;
}
