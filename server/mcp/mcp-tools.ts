import { setTimeout as delay } from 'node:timers/promises';
import { type CallToolResult, McpServer } from '@modelcontextprotocol/server';
import { z } from 'zod';
import { decideBatch } from '#core/approvals/decide-batch.ts';
import { describeOutcome } from '#core/approvals/settle-approval.ts';
import { visibleApprovals } from '#core/approvals/visible-approvals.ts';
import { appendAudit } from '#core/audit/append-audit.ts';
import { broadcastLevels } from '#core/broadcast/broadcast.ts';
import { sendBroadcast } from '#core/broadcast/send-broadcast.ts';
import type { Db } from '#core/kit/database.ts';
import { AppError, toAppError } from '#core/kit/errors.ts';
import { idFrom, newId } from '#core/kit/ids.ts';
import type { Log } from '#core/kit/log.ts';
import type { LaneWake } from '#core/lanes/lane.ts';
import type { AccessScope } from '#core/mcp/access-scope.ts';
import type { AccessToken } from '#core/mcp/access-tokens.ts';
import { readRun, readRunTexts, runCharsMax, startRun, tokenOrigin } from '#core/mcp/token-runs.ts';
import { memoryScope, saveFact, searchFacts } from '#core/memory/memory-store.ts';
import { isAdministrator } from '#core/people/person.ts';

/** Longest a call may wait for work to end: shorter than the idle limits of common proxies. */
const waitSecondsMax = 50;
const pollMs = 400;
const factsMax = 20;

export interface McpToolsDeps {
  readonly db: Db;
  readonly log: Log;
  readonly version: string;
  readonly defaultAgent: string;
  readonly findAgent: (name: string) => Promise<{ readonly name: string; readonly version: string } | undefined>;
  readonly ring: (wakes: readonly LaneWake[]) => Promise<void>;
}

interface Answer {
  readonly [key: string]: unknown;
}

/** The tools one token may use, as a server for one request. What it has no scope for is not even listed. */
export function buildMcpServer(deps: McpToolsDeps, token: AccessToken): McpServer {
  const server = new McpServer(
    { name: 'switchyard', version: deps.version },
    {
      instructions:
        'Gives work to agents of a Switchyard installation. run_start begins it and returns at once; run_wait says how it stands and what was answered. Work may wait for an approval by a person.',
    },
  );
  const has = (...scopes: readonly AccessScope[]): boolean => scopes.some((scope) => token.scopes.includes(scope));
  /** Runs a tool's work, records it, and says what went wrong without what is nobody's business. */
  const answer: AnswerWith = async (tool, work) => {
    let problem: AppError | undefined;
    try {
      const content = await work();
      return { content: [{ type: 'text' as const, text: JSON.stringify(content) }], structuredContent: content };
    } catch (err) {
      problem = toAppError(err);
      if (problem.blame === 'bug') deps.log.error({ err, tool, tokenId: token.id }, 'a call over mcp failed');
      const isShown = problem.isForChat || problem.code.startsWith('request.');
      const text = isShown ? problem.text : 'Something went wrong here; the operator finds it in the log.';
      return { isError: true, content: [{ type: 'text' as const, text }] };
    } finally {
      await appendAudit(deps.db, [
        {
          kind: 'access.call',
          chainKey: `access:${token.id}`,
          body: { tokenId: token.id, personId: token.person.id, tool, code: problem?.code },
        },
      ]);
    }
  };
  if (has('runs:write')) addStart(server, deps, token, answer);
  if (has('runs:write', 'runs:read')) addRunReads(server, deps, token, answer);
  if (has('memory:read')) {
    server.registerTool(
      'memory_search',
      {
        description: 'Search what was remembered for the person this token belongs to.',
        inputSchema: z.object({ query: z.string().max(500).describe('Words to look for; empty for the newest.') }),
        annotations: { readOnlyHint: true },
      },
      async ({ query }) =>
        await answer('memory_search', async () => {
          const facts = await searchFacts(deps.db, { scope: scopeOf(token), text: query, rowsMax: factsMax });
          return { facts: facts.map(({ text, createdAt }) => ({ text, since: createdAt.toISOString() })) };
        }),
    );
  }
  if (has('memory:write')) {
    server.registerTool(
      'memory_save',
      {
        description: 'Remember a fact for the person this token belongs to.',
        inputSchema: z.object({ text: z.string().min(1).max(4_000).describe('The fact, as one full sentence.') }),
      },
      async ({ text }) =>
        await answer('memory_save', async () => {
          const by = { agentName: `mcp:${token.name}`, sessionId: undefined, turnId: undefined };
          await saveFact(deps.db, { ...by, scope: scopeOf(token), text, createdBy: token.person.id });
          return { remembered: text };
        }),
    );
  }
  if (has('approvals:read', 'approvals:decide')) addApprovals(server, deps, token, answer, has('approvals:decide'));
  if (has('messages:send')) addMessages(server, deps, token, answer);
  return server;
}

type AnswerWith = (tool: string, work: () => Promise<Answer>) => Promise<CallToolResult>;

function scopeOf(token: AccessToken): string {
  return memoryScope(tokenOrigin(token, 'main'));
}

function addStart(server: McpServer, deps: McpToolsDeps, token: AccessToken, answer: AnswerWith): void {
  server.registerTool(
    'run_start',
    {
      description:
        'Give an agent work. Returns at once with a run_id; ask run_wait for the answer. The same idempotency_key again begins nothing new.',
      inputSchema: z.object({
        task: z.string().min(1).max(runCharsMax).describe('What to do, complete in itself.'),
        agent: z.string().max(40).optional().describe('Who does it; left out: the default agent.'),
        conversation: z
          .string()
          .regex(/^[A-Za-z0-9._@-]{1,64}$/)
          .optional()
          .describe('Runs with the same name go on with one conversation; left out: "main".'),
        kind: z.enum(['task', 'message']).optional().describe('task (may take long) or message (a quick answer).'),
        idempotency_key: z.string().min(1).max(200).optional().describe('The same for every try of the same work.'),
      }),
    },
    async ({ task, agent, conversation, kind, idempotency_key }) =>
      await answer('run_start', async () => {
        const name = agent ?? token.agentName ?? deps.defaultAgent;
        const found = await deps.findAgent(name);
        if (found === undefined || (token.agentName !== undefined && found.name !== token.agentName)) {
          throw new AppError('agent.unknown', `There is no agent "${name}" that this token may give work to.`, {
            mend: token.agentName === undefined ? 'Leave agent out.' : `It may give work to "${token.agentName}".`,
          });
        }
        const { runId, wakes } = await startRun(deps.db, token, {
          agent: found,
          text: task,
          kind: kind ?? 'task',
          conversation: conversation ?? 'main',
          idempotencyKey: idempotency_key,
        });
        await deps.ring(wakes);
        return { run_id: runId, agent: found.name };
      }),
  );
}

function addRunReads(server: McpServer, deps: McpToolsDeps, token: AccessToken, answer: AnswerWith): void {
  const read = async (runId: string): Promise<Answer & { readonly isSettled: boolean }> => {
    const run = await readRun(deps.db, token, runId);
    const texts = await readRunTexts(deps.db, run);
    return {
      run_id: run.turnId,
      agent: run.agentName,
      state: run.state,
      ...(run.waitingFor === undefined ? {} : { waiting_for: run.waitingFor }),
      ...(run.errorCode === undefined ? {} : { error: run.errorCode }),
      said: texts,
      ...(run.state === 'done' ? { answer: texts.at(-1) ?? '' } : {}),
      isSettled: run.isOver || run.state === 'waiting',
    };
  };
  server.registerTool(
    'run_status',
    {
      description: 'How work stands, and what the agent said so far.',
      inputSchema: z.object({ run_id: z.string().max(64) }),
      annotations: { readOnlyHint: true },
    },
    async ({ run_id }) =>
      await answer('run_status', async () => {
        const { isSettled: _, ...status } = await read(run_id);
        return status;
      }),
  );
  server.registerTool(
    'run_wait',
    {
      description: `Wait until work ends or waits for a person, at most ${waitSecondsMax} seconds; then as run_status. Call it again while state is queued or running.`,
      inputSchema: z.object({
        run_id: z.string().max(64),
        seconds: z.number().min(0).max(waitSecondsMax).optional().describe(`${waitSecondsMax} when left out.`),
      }),
      annotations: { readOnlyHint: true },
    },
    async ({ run_id, seconds }, context) =>
      await answer('run_wait', async () => {
        const until = Date.now() + (seconds ?? waitSecondsMax) * 1000;
        for (;;) {
          const { isSettled, ...status } = await read(run_id);
          if (isSettled || Date.now() >= until) return status;
          await delay(pollMs, undefined, { signal: context.mcpReq.signal });
        }
      }),
  );
}

function addApprovals(
  server: McpServer,
  deps: McpToolsDeps,
  token: AccessToken,
  answer: AnswerWith,
  mayDecide: boolean,
): void {
  server.registerTool(
    'approvals_list',
    {
      description: 'What waits for a decision that the person this token belongs to may take or has asked for.',
      inputSchema: z.object({}),
      annotations: { readOnlyHint: true },
    },
    async () =>
      await answer('approvals_list', async () => {
        const { shown } = await visibleApprovals(deps.db, token.person, tokenOrigin(token, 'main'));
        return {
          approvals: shown.map((approval) => ({
            approval_id: approval.id,
            agent: approval.agentName,
            tool: approval.action.tool,
            arguments: approval.action.arguments,
            summary: approval.summary,
            risk: approval.risk,
            expires_at: approval.expiresAt.toISOString(),
          })),
        };
      }),
  );
  if (!mayDecide) return;
  server.registerTool(
    'approvals_decide',
    {
      description:
        'Approve or deny one waiting action, as the person this token belongs to. Only what that person may decide.',
      inputSchema: z.object({
        approval_id: z.uuid(),
        decision: z.enum(['approve', 'deny']),
        reason: z
          .string()
          .max(1_000)
          .optional()
          .describe('Shown with the decision; the agent reads why it was denied.'),
      }),
      annotations: { destructiveHint: true },
    },
    async ({ approval_id, decision, reason }) =>
      await answer('approvals_decide', async () => {
        const answerTo = { approvalIds: [approval_id], decision, personId: token.person.id, reason, via: 'api' };
        const outcome = (await decideBatch(deps, answerTo)).get(approval_id) ?? { kind: 'unknown' as const };
        if (outcome.kind === 'settled') return { decided: decision };
        throw new AppError('approval.not_allowed', describeOutcome(outcome));
      }),
  );
}

function addMessages(server: McpServer, deps: McpToolsDeps, token: AccessToken, answer: AnswerWith): void {
  const isAdmin = isAdministrator(token.person.role);
  server.registerTool(
    'message_send',
    {
      description: isAdmin
        ? 'Say something in a chat. Returns where it went; delivery itself takes a moment.'
        : 'Say something to the person this token belongs to, in private.',
      inputSchema: z.object({
        to: z
          .string()
          .min(1)
          .max(200)
          .optional()
          .describe(
            isAdmin
              ? 'me (when left out), @name, person:<id>, channel:room[:thread], owners, admins.'
              : 'me, which is what it is when left out.',
          ),
        text: z.string().min(1).max(8_000).describe('Markdown, complete in itself.'),
        level: z.enum(broadcastLevels).optional(),
        idempotency_key: z.string().min(1).max(200).optional(),
      }),
    },
    async ({ to = 'me', text, level, idempotency_key }) =>
      await answer('message_send', async () => {
        if (to !== 'me' && !isAdmin) {
          throw new AppError('grant.missing', 'This token may write to its own person only.', {
            mend: 'Leave out "to".',
          });
        }
        const target = to === 'me' ? `person:${token.person.id}` : to;
        const key = idempotency_key ?? newId();
        const broadcast = await deps.db.transaction().execute(
          async (tx) =>
            await sendBroadcast(tx, {
              id: idFrom(`mcp:${token.id}:${key}`),
              markdown: text,
              level: level ?? 'info',
              priority: 'normal',
              author: `${token.person.displayName} (by "${token.name}")`,
              createdBy: token.person.id,
              turnId: undefined,
              report: undefined,
              targets: [target],
            }),
        );
        const failed = broadcast.results.filter(({ state }) => state === 'failed');
        if (failed.length === broadcast.results.length) {
          throw new AppError('person.unreachable', failed[0]?.reason ?? 'Nobody could be written to.');
        }
        return { sent_to: broadcast.results.length - failed.length, failed: failed.map(({ target: name }) => name) };
      }),
  );
}
