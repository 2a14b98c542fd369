import { appendAudit } from '../audit/append-audit.ts';
import type { Tx } from '../kit/database.ts';
import { decideTools as decideRows, forgetDecisions, type ToolChoice } from './tool-store.ts';

/**
 * Allows or refuses tools exactly as they were looked at; one that changed meanwhile stays as it is.
 * @returns the names that were decided.
 */
export async function decideTools(
  tx: Tx,
  decision: {
    readonly server: string;
    readonly tools: readonly ToolChoice[];
    readonly isApproved: boolean;
    readonly personId: string;
    /** How it came: `button`, `cli`. */
    readonly via: string;
  },
): Promise<readonly string[]> {
  const names = await decideRows(tx, decision);
  if (names.length > 0) {
    await appendAudit(tx, [
      {
        kind: decision.isApproved ? 'mcp.tools_approved' : 'mcp.tools_refused',
        chainKey: `mcp:${decision.server}`,
        body: {
          server: decision.server,
          tools: decision.tools.filter(({ name }) => names.includes(name)),
          personId: decision.personId,
          via: decision.via,
        },
      },
    ]);
  }
  return names;
}

/** Forgets tools and what was decided about them; at the next look they are new again. @returns their names. */
export async function forgetTools(
  tx: Tx,
  choice: { readonly server: string; readonly tool: string | undefined; readonly personId: string },
): Promise<readonly string[]> {
  const names = await forgetDecisions(tx, choice.server, choice.tool);
  if (names.length > 0) {
    await appendAudit(tx, [
      {
        kind: 'mcp.tools_forgotten',
        chainKey: `mcp:${choice.server}`,
        body: { server: choice.server, tools: names, personId: choice.personId },
      },
    ]);
  }
  return names;
}
