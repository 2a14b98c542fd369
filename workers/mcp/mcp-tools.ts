import { isInputRequiredResult } from '@modelcontextprotocol/client';
import { z } from 'zod';
import type { AgentProfile } from '#core/agents/agent-profile.ts';
import { appendAudit } from '#core/audit/append-audit.ts';
import type { Db } from '#core/kit/database.ts';
import { toAppError } from '#core/kit/errors.ts';
import { type Json, jsonSchema } from '#core/kit/json.ts';
import type { Log } from '#core/kit/log.ts';
import { deleteCall, type OpenCall, putCall, selectCall } from '#core/mcp/call-store.ts';
import { checkSchema } from '#core/mcp/check-schema.ts';
import { isListed, type McpServer, riskOf } from '#core/mcp/mcp-server.ts';
import { modelToolName, shownTool, visibleText } from '#core/mcp/tool-pin.ts';
import { type McpTool, selectServers, selectTools } from '#core/mcp/tool-store.ts';
import { askQuestion } from '#core/questions/ask-question.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import type { Tool, ToolContext, ToolResult } from '../tools/tool.ts';
import type { TurnWork } from '../turn/turn-deps.ts';
import { toToolResult } from './call-result.ts';
import { cancelled, toQuestion } from './input-question.ts';
import type { CallInput } from './mcp-connection.ts';
import { toMcpError } from './mcp-error.ts';
import type { McpServers, McpSession } from './mcp-servers.ts';

/** Longest look at a server nobody has seen yet, at the beginning of a turn. */
const firstLookMs = 15_000;
/** A server that could not be looked at is left alone this long. */
const lookAgainMs = 60_000;
/** Arguments on an approval card; longer ones are cut and say how much is missing. */
const summaryCharsMax = 3_000;
/** A server that asks again and again is told no. */
const roundsMax = 5;
const questionValidMs = 24 * 3_600_000;
const progressPauseMs = 250;
const toolsCachedMax = 1_000;

export interface McpToolsDeps {
  readonly db: Db;
  readonly log: Log;
  readonly servers: McpServers;
  /** The session's container, for a server that is looked at before the first call. */
  readonly openSandbox: (agent: AgentProfile, work: TurnWork, signal: AbortSignal) => Promise<Sandbox>;
}

/**
 * Hands out the tools of the servers an agent lists: those that were approved, as they were when they were approved. No
 * server is started for it; the first call does that, and compares. A tool that changed since stays in the list and
 * says so when it is called.
 */
export function createMcpTools(
  deps: McpToolsDeps,
): (agent: AgentProfile, work: TurnWork) => Promise<ReadonlyMap<string, Tool>> {
  const made = new Map<string, Tool>();
  const toolOf = (server: McpServer, known: McpTool): Tool | undefined => {
    const key = `${server.name}\n${known.name}\n${known.state}\n${known.approvedDigest}\n${riskOf(server, known.name)}`;
    const cached = made.get(key);
    if (cached !== undefined) return cached;
    try {
      const tool = known.state === 'approved' ? callable(deps, server, known) : suspended(server, known);
      if (made.size >= toolsCachedMax) made.clear();
      made.set(key, tool);
      return tool;
    } catch (err) {
      deps.log.warn({ err, server: server.name, tool: known.name }, 'a tool of an mcp server cannot be used');
      return undefined;
    }
  };
  return async (agent, work) => {
    const tools = new Map<string, Tool>();
    for (const name of agent.mcp) {
      for (const { server, known } of await usable(deps, name, agent, work)) {
        const tool = toolOf(server, known);
        if (tool !== undefined && !tools.has(tool.name)) tools.set(tool.name, tool);
      }
    }
    return tools;
  };
}

async function usable(
  deps: McpToolsDeps,
  name: string,
  agent: AgentProfile,
  work: TurnWork,
): Promise<readonly { readonly server: McpServer; readonly known: McpTool }[]> {
  const { db, log, servers } = deps;
  try {
    const server = servers.require(name);
    const [record] = await selectServers(db, [name]);
    const isCurrent = record !== undefined && record.source === (await servers.sourceOf(server));
    let tools: readonly McpTool[];
    if (isCurrent && record.listedAt !== undefined) tools = await selectTools(db, [name]);
    else if (isCurrent && record.problem !== undefined && Date.now() - record.triedAt.getTime() < lookAgainMs)
      return [];
    else {
      const signal = AbortSignal.timeout(firstLookMs);
      tools = await servers.look(
        server,
        sessionOf(agent, work, async () => await deps.openSandbox(agent, work, signal)),
        signal,
      );
    }
    return tools
      .filter((tool) => isListed(server, tool.name) && (tool.state === 'approved' || tool.state === 'changed'))
      .map((known) => ({ server, known }));
  } catch (err) {
    // A server that is away costs its tools, not the turn.
    log.warn(
      { err, server: name, agent: agent.name, code: toAppError(err).code },
      'tools of an mcp server are missing',
    );
    return [];
  }
}

function sessionOf(
  agent: AgentProfile,
  work: Pick<TurnWork, 'sessionId' | 'origin'>,
  sandbox: () => Promise<Sandbox>,
): McpSession {
  return { sessionId: work.sessionId, agentName: agent.name, personId: work.origin.personId, sandbox };
}

const argumentsSchema = z.record(z.string(), jsonSchema);
type Arguments = z.infer<typeof argumentsSchema>;

/** A tool that was approved, and is called only as long as it is what was approved. */
function callable(deps: McpToolsDeps, server: McpServer, known: McpTool): Tool<Arguments> {
  const definition = known.approvedDefinition ?? known.definition;
  const shown = shownTool(server.name, definition);
  const output = outputOf(definition);
  const place = { server: server.name, tool: known.name };
  const parameters = argumentsSchema.superRefine((args, context) => {
    for (const message of checkSchema(shown.inputSchema, args)) context.addIssue({ code: 'custom', message });
  });
  return {
    name: modelToolName(server.name, known.name),
    description: shown.description,
    parameters,
    inputSchema: shown.inputSchema,
    // What a server says of its tools is not believed: any of them may change something.
    isParallelSafe: false,
    isIdempotent: false,
    claim: (args) => claimOf(server, known.name, args),
    waitsStill: async ({ turnId, callKey }) => (await selectCall(deps.db, turnId, callKey))?.isSent === false,
    run: async (args, context) => {
      const session = sessionOf(context.agent, context, async () => await context.sandbox());
      const open = await selectCall(deps.db, context.turnId, context.callKey);
      if (open?.isSent === true) {
        return refuse('Outcome unknown: the worker was interrupted while the server had the answer. Check first.');
      }
      let round = open?.round ?? 0;
      let input = open === undefined ? undefined : await collect(deps, place, open, context);
      for (;;) {
        if (input !== undefined && 'waitsFor' in input) return input;
        const { connection, tools } = await deps.servers.use(server, session, context.signal);
        const now = tools.find(({ name }) => name === known.name);
        if (now?.state !== 'approved' || now.approvedDigest !== known.approvedDigest) return suspendedResult(place);
        const options = {
          input,
          timeoutMs: server.timeoutMs,
          signal: context.signal,
          onProgress: paced((step: Progress) => context.progress(describeProgress(known.name, step))),
        };
        const result = await connection
          .call({ definition, name: known.name }, args, options)
          .catch((err: unknown) => Promise.reject(context.signal.aborted ? err : toMcpError(server.name, err)));
        if (isInputRequiredResult(result)) {
          round += 1;
          if (round > roundsMax) return refuse(`The server asked ${roundsMax} times and was told to stop.`);
          input = await collect(deps, place, openCall(place, { round, result }, context), context);
          continue;
        }
        if (round > 0) await deleteCall(deps.db, context.turnId, context.callKey);
        const [problem] =
          output === undefined || result.isError === true ? [] : checkSchema(output, result.structuredContent);
        if (problem !== undefined) return refuse(`The server's answer does not fit its own description: ${problem}.`);
        return await toToolResult(deps.db, place, result);
      }
    },
  };
}

/** Passes on what comes at most four times a second: a server may send thousands. */
function paced(tell: (step: Progress) => void): (step: Progress) => void {
  let last = -Infinity;
  return (step) => {
    const now = performance.now();
    if (now - last < progressPauseMs) return;
    last = now;
    tell(step);
  };
}

interface Progress {
  readonly progress: number;
  readonly total?: number | undefined;
  readonly message?: string | undefined;
}

function describeProgress(tool: string, { progress, total, message }: Progress): string {
  return visibleText(message ?? `${tool}: ${progress}${total === undefined ? '' : ` of ${total}`}`).slice(0, 300);
}

function claimOf(server: McpServer, tool: string, args: Arguments): ReturnType<Tool['claim']> {
  const text = JSON.stringify(args, undefined, 1);
  const cut = text.length > summaryCharsMax ? `${text.slice(0, summaryCharsMax)}… (${text.length} characters)` : text;
  return {
    action: 'mcp.call',
    resource: `${server.name}/${tool}`,
    risk: riskOf(server, tool),
    summary: `${server.name}/${visibleText(tool)} ${cut}`,
  };
}

/** What is left of a tool that changed after it was approved: its name, and the reason. */
function suspended(server: McpServer, known: McpTool): Tool<Arguments> {
  const place = { server: server.name, tool: known.name };
  return {
    name: modelToolName(server.name, known.name),
    description:
      'Suspended: the server changed this tool after it was approved. Do without it and say so if it matters.',
    parameters: argumentsSchema,
    inputSchema: { type: 'object' },
    isParallelSafe: false,
    isIdempotent: true,
    claim: (args) => claimOf(server, known.name, args),
    run: async () => await Promise.resolve(suspendedResult(place)),
  };
}

function suspendedResult({ server, tool }: { readonly server: string; readonly tool: string }): ToolResult {
  return refuse(
    `Not called: the server "${server}" changed or removed its tool "${visibleText(tool)}" after it was approved. The administrators were told and may allow it again; until then do without it.`,
  );
}

function refuse(text: string): ToolResult {
  return { text, isError: true };
}

function outputOf(definition: Json): Json | undefined {
  return z.looseObject({ outputSchema: jsonSchema.optional() }).parse(definition).outputSchema;
}

interface InputRequired {
  readonly inputRequests?: Readonly<Record<string, unknown>> | undefined;
  readonly requestState?: string | undefined;
}

/** A call whose server wants something from people before it goes on. */
function openCall(
  place: { readonly server: string; readonly tool: string },
  asked: { readonly round: number; readonly result: InputRequired },
  { turnId, callKey }: ToolContext,
): OpenCall {
  return {
    turnId,
    callId: callKey,
    ...place,
    round: asked.round,
    requestState: asked.result.requestState,
    requests: z.record(z.string(), jsonSchema).parse(asked.result.inputRequests ?? {}),
    responses: {},
    isSent: false,
  };
}

/**
 * Takes in what was answered and asks for the rest.
 * @returns a result that waits, or everything the server asked for.
 */
async function collect(
  deps: McpToolsDeps,
  place: { readonly server: string; readonly tool: string },
  call: OpenCall,
  context: ToolContext,
): Promise<(ToolResult & { readonly waitsFor: NonNullable<ToolResult['waitsFor']> }) | CallInput> {
  const responses: Record<string, Json> = { ...call.responses };
  for (const [key, request] of Object.entries(call.requests)) {
    if (responses[key] !== undefined) continue;
    const question = toQuestion(place, request);
    if (question === undefined) {
      responses[key] = cancelled;
      continue;
    }
    let problem = '';
    // Words that do not fit are asked for once more, with what is wrong about them.
    for (const attempt of [1, 2]) {
      const asked = await ask(
        deps,
        question,
        { key: `${call.round}:${key}:${attempt}`, problem, call: { ...call, responses } },
        context,
      );
      if (asked.state === 'pending') {
        return {
          text: 'The server waits for a person.',
          isError: false,
          waitsFor: { questionId: asked.id, text: asked.text },
        };
      }
      if (asked.state !== 'answered') break;
      const read = question.read(asked.answer ?? '');
      if ('response' in read) {
        responses[key] = read.response;
        break;
      }
      problem = read.problem;
    }
    responses[key] ??= cancelled;
  }
  await putCall(deps.db, { ...call, responses, isSent: true });
  return { requestState: call.requestState, responses };
}

/** Asks, and keeps with the question what the call goes on with: a crash finds both or neither. */
async function ask(
  deps: McpToolsDeps,
  question: NonNullable<ReturnType<typeof toQuestion>>,
  attempt: { readonly key: string; readonly problem: string; readonly call: OpenCall },
  context: ToolContext,
): Promise<Awaited<ReturnType<typeof askQuestion>>['question']> {
  const { sessionId, turnId, callKey, agent, origin } = context;
  return await deps.db.transaction().execute(async (tx) => {
    const { question: asked, audit } = await askQuestion(tx, {
      sessionId,
      turnId,
      callId: `${callKey}:${attempt.key}`,
      agentName: agent.name,
      text: attempt.problem === '' ? question.text : `${attempt.problem}\n${question.text}`,
      choices: question.choices,
      requesterId: origin.personId,
      askedId: undefined,
      conversation: origin,
      validMs: questionValidMs,
    });
    if (asked.state === 'pending') await putCall(tx, attempt.call);
    if (audit !== undefined) await appendAudit(tx, [audit]);
    return asked;
  });
}
