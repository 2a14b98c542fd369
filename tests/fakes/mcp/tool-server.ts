import { type CallToolResult, inputRequired, McpServer, type McpServerFactory } from '@modelcontextprotocol/server';
import { z } from 'zod';

/** What a test may change of a server while it runs. */
export interface ToolServerState {
  /** Of the tool `echo`. */
  description: string;
  /** How often `echo` was carried out. */
  calls: number;
  /** Another result than what was sent. */
  answer: CallToolResult | undefined;
  readonly hasAsk: boolean;
}

export function toolServerState(changes: Partial<ToolServerState> = {}): ToolServerState {
  return { description: 'Says the text again.', calls: 0, answer: undefined, hasAsk: false, ...changes };
}

/** A well-behaved server of the official package, with what a test changed about it. */
export function toolServer(state: ToolServerState): McpServerFactory {
  return () => {
    const server = new McpServer({ name: 'fake', version: '1.0.0' });
    server.registerTool(
      'echo',
      {
        description: state.description,
        inputSchema: z.object({ text: z.string(), times: z.number().int().optional() }),
        annotations: { readOnlyHint: true },
      },
      ({ text, times = 1 }) => {
        state.calls += 1;
        return state.answer ?? { content: [{ type: 'text', text: text.repeat(times) }] };
      },
    );
    server.registerTool(
      'slow',
      { description: 'Takes its time and says how far it is.', inputSchema: z.object({ steps: z.number() }) },
      async ({ steps }, context) => {
        const token = context.mcpReq._meta?.progressToken;
        for (let step = 1; step <= steps && !context.mcpReq.signal.aborted; step += 1) {
          if (token !== undefined) {
            await context.mcpReq.notify({
              method: 'notifications/progress',
              params: { progressToken: token, progress: step, total: steps, message: `step ${step} of ${steps}` },
            });
          }
          await new Promise((resolve) => setTimeout(resolve, 30));
        }
        return { content: [{ type: 'text', text: context.mcpReq.signal.aborted ? 'stopped' : 'done' }] };
      },
    );
    if (state.hasAsk) {
      server.registerTool(
        'deploy',
        { description: 'Deploys after a question.', inputSchema: z.object({ to: z.string() }) },
        ({ to }, context) => {
          const given = context.mcpReq.inputResponses?.['sure'];
          if (given === undefined) {
            return inputRequired({
              inputRequests: {
                sure: inputRequired.elicit({
                  message: `Deploy to ${to}?`,
                  requestedSchema: { type: 'object', properties: { yes: { type: 'boolean' } }, required: ['yes'] },
                }),
              },
              requestState: `state of ${to}`,
            });
          }
          state.calls += 1;
          return { content: [{ type: 'text', text: `answered ${JSON.stringify(given)}` }] };
        },
      );
    }
    return server;
  };
}
