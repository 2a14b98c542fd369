/** Logins of people at MCP servers, as their pages need them; the composition passes the logins of the worker's room. */
export interface McpLoginDesk {
  /** What a link is about; undefined when it was used or is over. */
  page(
    ticket: string,
  ): Promise<{ readonly personName: string; readonly server: string; readonly host: string } | undefined>;
  /** The person said that it is them. @returns where to go, and what the browser has to bring back. */
  confirm(ticket: string): Promise<{ readonly url: string; readonly browser: string } | undefined>;
  /** The browser is back. @throws AppError `mcp.login_failed` */
  finish(params: URLSearchParams, browser: string | undefined): Promise<{ readonly server: string }>;
  /** What we say of ourselves as an OAuth client; undefined where that is not reachable over https. */
  clientDocument(): Readonly<Record<string, unknown>> | undefined;
}
