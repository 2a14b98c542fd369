/** Puts `@agent` in front of a message, unless it is a command or addresses someone already. */
export function addressAgent(text: string, agent: string | undefined): string {
  return agent === undefined || /^\s*[/@]/.test(text) ? text : `@${agent} ${text}`;
}
