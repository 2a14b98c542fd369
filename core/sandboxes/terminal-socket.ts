/** Where the terminals of a session listen, inside its container. No settings of the agent's own are read there. */
export const terminalSocket = '/tmp/.switchyard-terminals/socket';

/** A terminal's name. */
export const terminalNamePattern = /^[a-z0-9][a-z0-9_-]{0,30}$/;

/**
 * The command by which a person watches a terminal from inside the container, or types into it. Ctrl+] leaves it.
 * @param name one that fits `terminalNamePattern`.
 */
export function attachTerminalCommand(name: string, { mayType }: { readonly mayType: boolean }): string {
  const flags = mayType ? 'ignore-size' : 'read-only,ignore-size';
  return `exec env -u TMUX tmux -u -N -S ${terminalSocket} attach-session -f ${flags} -t '=${name}'`;
}
