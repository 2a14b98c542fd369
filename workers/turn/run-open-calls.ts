import type { z } from 'zod';
import type { AgentProfile } from '#core/agents/agent-profile.ts';
import { AppError, toAppError } from '#core/kit/errors.ts';
import { toWellFormed } from '#core/kit/json.ts';
import type { ToolCallPart } from '#core/models/model-port.ts';
import type { TurnEvent } from '#core/turns/turn-event.ts';
import type { LiveAnswer } from '../delivery/live-answer.ts';
import type { ProgressCard } from '../delivery/progress-card.ts';
import { usageNews } from '../hooks/usage-news.ts';
import type { Sandbox, SandboxKind } from '../sandbox/sandbox.ts';
import type { Tool, ToolContext, ToolResult } from '../tools/tool.ts';
import type { LoopDetector } from './loop-detector.ts';
import type { TurnDeps, TurnWork } from './turn-deps.ts';
import type { TurnLog } from './turn-log.ts';

/** Longest status line of a running tool. */
const statusCharsMax = 200;

interface CallPass {
  readonly deps: TurnDeps;
  readonly work: TurnWork;
  readonly agent: AgentProfile;
  readonly tools: ReadonlyMap<string, Tool>;
  readonly log: TurnLog;
  readonly live: LiveAnswer;
  readonly card: ProgressCard;
  readonly loops: LoopDetector;
  readonly signal: AbortSignal;
  readonly reach: () => Promise<void>;
}

/** A call that passed the gate. */
interface ReadyCall {
  readonly call: ToolCallPart;
  readonly tool: Tool;
  readonly args: unknown;
  readonly isLooping: boolean;
}

type Prepared =
  | { readonly kind: 'ready'; readonly ready: ReadyCall }
  | { readonly kind: 'finished'; readonly call: ToolCallPart; readonly result: ToolResult }
  | { readonly kind: 'waiting'; readonly waitingFor: AwaitedPerson; readonly event: TurnEvent };

/** What a turn that needs a person waits for: a yes or no, or an answer. */
export type AwaitedPerson = 'approval' | 'person';

/**
 * Carries out the open calls of the last answer in the model's order; neighbours that declare themselves parallel-safe
 * run together. A call that needs a person stops the line: what stands behind it may build on it.
 * @returns what is waited for, or undefined when every call has its result.
 */
export async function runOpenCalls(pass: CallPass): Promise<AwaitedPerson | undefined> {
  const wasStarted = new Set(pass.log.openCalls().flatMap((call) => (pass.log.wasStarted(call.id) ? [call.id] : [])));
  for (const group of groupCalls(pass, pass.log.openCalls())) {
    const prepared: Prepared[] = [];
    for (const call of group) prepared.push(await prepare(pass, call, wasStarted.has(call.id)));
    const ready = prepared.flatMap((item) => (item.kind === 'ready' ? [item.ready] : []));
    for (const item of prepared) if (item.kind === 'finished') finish(pass, item.call, item.result);
    if (ready.length > 0) {
      for (const { call } of ready) pass.log.add({ kind: 'tool_started', callId: call.id, name: call.name });
      // Stored before the effect: after a crash, a start without an end means that the outcome is unknown.
      await pass.reach();
      pass.live.status(ready.map(titleOf).join('; '));
      const asked = await Promise.all(
        ready.map(async (item) => {
          const step = pass.log.callKey(item.call.id);
          pass.card.started(step, titleOf(item));
          const begunAt = performance.now();
          const result = await run(pass, item, step);
          if (result.waitsFor !== undefined) {
            pass.log.add({ kind: 'question_asked', callId: item.call.id, ...result.waitsFor });
            return true;
          }
          pass.card.finished(step, result.isError);
          finish(pass, item.call, result, Math.round(performance.now() - begunAt));
          return false;
        }),
      );
      if (asked.includes(true)) return 'person';
    }
    const waiting = prepared.find((item) => item.kind === 'waiting');
    if (waiting !== undefined) {
      pass.log.add(waiting.event);
      return waiting.waitingFor;
    }
  }
  return undefined;
}

/** The first line says what is done; the rest of a summary is there for people who approve it. */
function titleOf({ tool, args }: ReadyCall): string {
  return (tool.claim(args).summary.split('\n', 1)[0] ?? '').slice(0, statusCharsMax);
}

function groupCalls(pass: CallPass, calls: readonly ToolCallPart[]): ToolCallPart[][] {
  const groups: ToolCallPart[][] = [];
  let wasParallel = false;
  for (const call of calls) {
    const isParallel = pass.tools.get(call.name)?.isParallelSafe === true;
    const last = groups.at(-1);
    if (isParallel && wasParallel && last !== undefined) last.push(call);
    else groups.push([call]);
    wasParallel = isParallel;
  }
  return groups;
}

async function prepare(pass: CallPass, call: ToolCallPart, wasStarted: boolean): Promise<Prepared> {
  const refuse = (text: string): Prepared => ({ kind: 'finished', call, result: { text, isError: true } });
  const mayRepeat = pass.tools.get(call.name)?.mayRepeat === true;
  const verdict = mayRepeat
    ? 'go'
    : pass.loops.observe(call.name, call.parsed.ok ? call.parsed.arguments : call.rawArguments);
  if (verdict === 'end') {
    throw new AppError('turn.loop', `I kept repeating the same call of ${call.name} and stopped myself.`, {
      mend: 'Tell me what to do differently.',
    });
  }
  if (verdict === 'block') {
    return refuse('Refused: this is the same call again, and its result will not change. Try another way or answer.');
  }
  if (!call.parsed.ok) {
    return refuse(
      call.parsed.why === 'truncated'
        ? 'Not carried out: the arguments were cut off by the output limit. Make a smaller call.'
        : 'Not carried out: the arguments were not valid JSON. Send one JSON object.',
    );
  }
  const tool = pass.tools.get(call.name);
  if (tool === undefined) {
    return refuse(`There is no tool "${call.name}". Available: ${[...pass.tools.keys()].sort().join(', ') || 'none'}.`);
  }
  const given = tool.parameters.safeParse(call.parsed.arguments);
  if (!given.success) return refuse(`Not carried out: ${issuesOf(given.error)}.`);
  const endedCalls = () => pass.log.endedCalls();
  const hookCall = {
    agent: pass.agent,
    work: pass.work,
    tool: tool.name,
    callKey: pass.log.callKey(call.id),
    endedCalls,
  };
  const hooked = await pass.deps.hooks.beforeTool({ ...hookCall, args: given.data }, pass.signal);
  if (hooked.action === 'block') return refuse(`Blocked: ${hooked.reason}`);
  const args = hooked.action === 'modify' ? tool.parameters.safeParse(hooked.args) : given;
  if (!args.success) return refuse(`Not carried out: a hook changed the arguments, and ${issuesOf(args.error)}.`);
  const callKey = pass.log.callKey(call.id);
  // The question of a call is stored by its tool and then told to the turn: a worker may die between the two.
  const waitsStill = wasStarted && (await tool.waitsStill?.({ turnId: pass.work.turnId, callKey })) === true;
  if (wasStarted && !tool.isIdempotent && !waitsStill) {
    return refuse('Outcome unknown: the worker was interrupted while this ran. Check its effect before repeating it.');
  }
  const prepared = await look(pass, call, tool, args.data);
  if (!prepared.ok) return { kind: 'finished', call, result: prepared.result };
  const settled = prepared.args;
  const decision = await pass.deps.gate({
    agent: pass.agent,
    work: pass.work,
    // A call that asked a person goes on: its approval was spent when it began, and what is asked for is the same.
    tool: waitsStill || pass.log.isResumed(call.id) ? { ...tool, isIdempotent: true } : tool,
    callKey,
    args: settled,
    claim: tool.claim(settled),
  });
  switch (decision.effect) {
    case 'allow':
      if (tool.park !== undefined) return await park(pass, call, settled, tool.park.bind(tool));
      return { kind: 'ready', ready: { call, tool, args: settled, isLooping: verdict === 'warn' } };
    case 'deny':
      return refuse(decision.reason);
    case 'wait':
      return {
        kind: 'waiting',
        waitingFor: 'approval',
        event: {
          kind: 'approval_requested',
          callId: call.id,
          approvalId: decision.approvalId,
          summary: decision.summary,
        },
      };
  }
}

function issuesOf(error: z.ZodError): string {
  const issues = error.issues.map((issue) => `${issue.path.join('.') || 'arguments'}: ${issue.message}`);
  return issues.slice(0, 5).join('; ');
}

/** Asks a person, or hands over what they answered. */
async function park(
  pass: CallPass,
  call: ToolCallPart,
  args: unknown,
  ask: NonNullable<Tool['park']>,
): Promise<Prepared> {
  const { sessionId, turnId, origin } = pass.work;
  try {
    const callKey = pass.log.callKey(call.id);
    const parked = await ask(args, { sessionId, turnId, agent: pass.agent, origin, callKey });
    if (parked.state === 'done') return { kind: 'finished', call, result: parked.result };
    const { questionId, text } = parked;
    return {
      kind: 'waiting',
      waitingFor: 'person',
      event: { kind: 'question_asked', callId: call.id, questionId, text },
    };
  } catch (err) {
    const error = toAppError(err);
    if (!error.isForChat) throw err;
    return { kind: 'finished', call, result: { text: error.text, isError: true } };
  }
}

/** What a call finds before it is decided on; one that fails there is over. */
async function look(
  pass: CallPass,
  call: ToolCallPart,
  tool: Tool,
  args: unknown,
): Promise<{ readonly ok: true; readonly args: unknown } | { readonly ok: false; readonly result: ToolResult }> {
  if (tool.prepare === undefined) return { ok: true, args };
  try {
    return { ok: true, args: await tool.prepare(args, contextOf(pass, pass.log.callKey(call.id))) };
  } catch (err) {
    return { ok: false, result: failed(pass, call, err) };
  }
}

function contextOf({ deps, work, agent, live, card, signal }: CallPass, step: string): ToolContext {
  const opened = new Map<SandboxKind, Promise<Sandbox>>();
  return {
    sessionId: work.sessionId,
    turnId: work.turnId,
    callKey: step,
    agent,
    origin: work.origin,
    signal,
    sandbox: async (kind = 'core') => {
      const known = opened.get(kind);
      if (known !== undefined) return await known;
      const spec = {
        sessionId: work.sessionId,
        agent: agent.name,
        limits: limitsOf(agent, kind),
        egress: agent.egress,
        turnId: work.turnId,
        kind,
      };
      const opening = deps.sandboxes.open(spec, signal);
      opened.set(kind, opening);
      return await opening;
    },
    // The last line says where a command is; all of it would push the conversation off the screen.
    progress: (text) => {
      const line = (text.trimEnd().split('\n').at(-1) ?? '').slice(-statusCharsMax);
      live.status(line);
      card.detail(step, line);
    },
    booked: (cost) => deps.hooks.tell(usageNews({ agent, work }, cost)),
  };
}

async function run(pass: CallPass, ready: ReadyCall, step: string): Promise<ToolResult> {
  const { deps, work, agent, signal } = pass;
  const context = contextOf(pass, step);
  try {
    const result = await deps.hooks.afterTool(
      {
        agent,
        work,
        tool: ready.tool.name,
        callKey: step,
        args: ready.args,
        endedCalls: () => pass.log.endedCalls(),
        sandbox: context.sandbox,
      },
      await ready.tool.run(ready.args, context),
      signal,
    );
    const warning = ready.isLooping ? '\n\n(This is the same call as before. Do not repeat it without a reason.)' : '';
    return { ...result, text: cap(result.text, deps.limits.toolResultCharsMax) + warning };
  } catch (err) {
    return failed(pass, ready.call, err);
  }
}

/** What the model reads of a call that threw. */
function failed({ deps, work, signal }: CallPass, call: ToolCallPart, err: unknown): ToolResult {
  const error = toAppError(err);
  if (error.code === 'invariant.broken' && !signal.aborted) {
    deps.log.error({ err, turnId: work.turnId, tool: call.name }, 'tool failed');
    return { text: 'The tool failed for a reason of its own; the operator can see why.', isError: true };
  }
  return { text: signal.aborted ? 'Stopped before it ended.' : error.text, isError: true };
}

/** A browser without a way out is of no use: its rules alone open the gateway for it. */
function limitsOf({ sandbox, egress }: AgentProfile, kind: SandboxKind): AgentProfile['sandbox'] {
  return kind === 'browser' && egress.length > 0 ? { ...sandbox, network: 'gateway' } : sandbox;
}

function finish(pass: CallPass, call: ToolCallPart, result: ToolResult, ms?: number): void {
  const text = toWellFormed(result.text) || '(no output)';
  pass.log.add({
    kind: 'tool_finished',
    callId: call.id,
    name: call.name,
    text,
    isError: result.isError,
    ...(ms === undefined ? {} : { ms }),
    ...(result.images === undefined || result.images.length === 0 ? {} : { images: [...result.images] }),
  });
}

function cap(text: string, charsMax: number): string {
  if (text.length <= charsMax) return text;
  const head = Math.floor(charsMax * 0.6);
  const tail = charsMax - head;
  return `${text.slice(0, head)}\n… ${text.length - charsMax} characters left out …\n${text.slice(-tail)}`;
}
