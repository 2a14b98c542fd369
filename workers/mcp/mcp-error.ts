import { ProtocolError, SdkError, SdkErrorCode } from '@modelcontextprotocol/client';
import { AppError, isAppError } from '#core/kit/errors.ts';
import { visibleText } from '#core/mcp/tool-pin.ts';

/** What went wrong with a server, as an error people and models can read. A server's own words are cut and quoted. */
export function toMcpError(server: string, err: unknown): AppError {
  for (let cause = err, depth = 0; cause instanceof Error && depth < 8; cause = cause.cause, depth += 1) {
    if (isAppError(cause)) return cause;
  }
  if (err instanceof ProtocolError) {
    return new AppError('mcp.protocol', `The MCP server "${server}" answered with an error: ${quote(err.message)}.`, {
      cause: err,
    });
  }
  if (err instanceof SdkError && err.code === SdkErrorCode.RequestTimeout) {
    return new AppError('mcp.timeout', `The MCP server "${server}" did not answer in time.`, { cause: err });
  }
  if (err instanceof SdkError && err.code === SdkErrorCode.ConnectionClosed) {
    return new AppError('mcp.unavailable', `The MCP server "${server}" ended before it answered.`, {
      mend: 'Whether it did what was asked is not known.',
      cause: err,
    });
  }
  const why = err instanceof Error ? `: ${quote(err.message)}` : '';
  return new AppError('mcp.unavailable', `The MCP server "${server}" cannot be reached${why}.`, { cause: err });
}

function quote(text: string): string {
  return `"${visibleText(text).replaceAll(/\s+/g, ' ').slice(0, 300)}"`;
}
