import type { Redactor } from '#core/redaction/redactor.ts';
import type { Tool, ToolContext, ToolResult } from '../tools/tool.ts';
import type { TurnDeps } from './turn-deps.ts';

/** Of a piece of output only the last line is shown; more than this of it is never looked at. */
const progressCharsMax = 64 * 1024;

/**
 * The same tools, from which no secret is heard: it is taken out of results before hooks, the session and the model see
 * them and before they are cut, and out of live output although it comes in pieces.
 */
export function redactTools(toolsOf: TurnDeps['toolsOf'], redactor: Redactor): TurnDeps['toolsOf'] {
  const known = new WeakMap<Tool, Tool>();
  return async (agent, work) => {
    const tools = await toolsOf(agent, work);
    return new Map(
      [...tools].map(([name, tool]) => {
        const redacted = known.get(tool) ?? redactTool(tool, redactor);
        known.set(tool, redacted);
        return [name, redacted];
      }),
    );
  };
}

function redactTool(tool: Tool, redactor: Redactor): Tool {
  const { park } = tool;
  return {
    ...tool,
    run: async (args, context) =>
      redactResult(await tool.run(args, { ...context, progress: redactProgress(context, redactor) }), redactor),
    ...(park === undefined
      ? {}
      : {
          park: async (args, context) => {
            const parked = await park.call(tool, args, context);
            return parked.state === 'done' ? { ...parked, result: redactResult(parked.result, redactor) } : parked;
          },
        }),
  };
}

function redactResult(result: ToolResult, redactor: Redactor): ToolResult {
  const text = redactor.text(result.text);
  return text === result.text ? result : { ...result, text };
}

function redactProgress(context: ToolContext, redactor: Redactor): ToolContext['progress'] {
  const output = redactor.stream();
  return (text) => {
    const safe = output.push(text.slice(-progressCharsMax));
    if (safe !== '') context.progress(safe);
  };
}
