import type { AgentProfile } from '#core/agents/agent-profile.ts';
import { describeWarning, type Hold, modelUnpriced } from '#core/budgets/budget.ts';
import type { Ledger } from '#core/budgets/open-ledger.ts';
import { takeWarnings } from '#core/budgets/take-warnings.ts';
import type { Db } from '#core/kit/database.ts';
import type { Log } from '#core/kit/log.ts';
import { type ModelRef, resolveChain } from '#core/models/model-ref.ts';
import { putMessages } from '#core/outbox/put-messages.ts';
import type { TurnHooks } from '../hooks/turn-hooks.ts';
import { usageNews } from '../hooks/usage-news.ts';
import { callModel } from '../models/call-model.ts';
import type { AttemptOutcome, CallModelDeps, ModelAttempt } from '../models/model-call.ts';
import type { AskModel, ModelAnswer, TurnWork } from './turn-deps.ts';
import { noticeMessage } from './turn-messages.ts';

export interface AskModelDeps {
  readonly db: Db;
  readonly log: Log;
  readonly ledger: Ledger;
  readonly call: CallModelDeps;
  readonly defaultModel: ModelRef;
  readonly timeouts: { readonly headerMs: number; readonly idleMs: number; readonly totalMs: number };
  /** Told what was booked and which budgets run low. */
  readonly hooks?: Pick<TurnHooks, 'tell'>;
}

/** The money of a worker that died is free again after this; a living one extends its holds well before. */
const holdValidMs = 120_000;
const holdExtendMs = 30_000;

/** Calls the agent's model chain with its budget: the worst case is held before each attempt, the cost booked after. */
export function createAskModel(deps: AskModelDeps): AskModel {
  return async (request, options) => {
    const { agent, work } = request;
    const holds = new Map<number, LiveHold>();
    const bookings: Promise<void>[] = [];
    const result = await callModel(deps.call, {
      chain: resolveChain(agent.model, agent.fallbacks, deps.defaultModel),
      request: {
        messages: request.messages,
        tools: request.tools,
        outputTokensMax: agent.output_tokens_max,
        cacheKey: work.sessionId,
        ...(agent.temperature === undefined ? {} : { temperature: agent.temperature }),
        ...(agent.effort === undefined ? {} : { effort: agent.effort }),
      },
      deadlineMs: deps.timeouts.totalMs,
      timeouts: deps.timeouts,
      signal: options.signal,
      restartAfterOutput: true,
      onEvent: (event) => {
        if (event.type === 'restart') options.onRestart();
        else options.onEvent(event);
      },
      beforeAttempt: async (attempt) => {
        const hold = await reserve(deps, request, attempt);
        if (hold !== undefined) holds.set(attempt.attemptNumber, keepAlive(deps, hold));
      },
      afterAttempt: async (attempt, outcome) => {
        const live = holds.get(attempt.attemptNumber);
        live?.stop();
        const hold = live?.hold;
        const booking = book(deps, request, attempt, hold, outcome);
        bookings.push(booking);
        // What was held must be settled before the next attempt asks for room; a plain record can be written meanwhile.
        if (hold !== undefined) await booking;
        else booking.catch(() => undefined);
      },
    });
    const answer: ModelAnswer = {
      message: result.message,
      stop: result.stop,
      usage: result.usage,
      costMicros: result.costMicros,
      model: result.ref.text,
      booked: Promise.all(bookings).then(() => undefined),
    };
    return answer;
  };
}

type Request = Parameters<AskModel>[0];

interface LiveHold {
  readonly hold: Hold;
  readonly stop: () => void;
}

/** Extends a hold while its call streams. */
function keepAlive(deps: AskModelDeps, hold: Hold): LiveHold {
  const timer = setInterval(() => {
    deps.ledger.extendHold(hold, holdValidMs).catch((err: unknown) => {
      deps.log.warn({ err, holdId: hold.id }, 'hold could not be extended');
    });
  }, holdExtendMs);
  return { hold, stop: () => clearInterval(timer) };
}

function hasBudget(agent: AgentProfile): boolean {
  return agent.budget?.daily_usd !== undefined || agent.budget?.monthly_usd !== undefined;
}

/** Unique per attempt of this pass; the pass is part of it, because a pass that died left its own hold to expire. */
function attemptKey(work: TurnWork, round: number, attempt: ModelAttempt): string {
  return `turn:${work.turnId}:${work.attempts}:${round}:${attempt.attemptNumber}`;
}

async function reserve(deps: AskModelDeps, request: Request, attempt: ModelAttempt): Promise<Hold | undefined> {
  const { agent, work, round } = request;
  if (!hasBudget(agent)) return undefined;
  if (attempt.worstCaseMicros === 'unpriced') throw modelUnpriced(attempt.ref.text, agent.name);
  return await deps.ledger.reserveHold({
    agentName: agent.name,
    key: attemptKey(work, round, attempt),
    amountMicros: attempt.worstCaseMicros,
    validMs: holdValidMs,
  });
}

async function book(
  deps: AskModelDeps,
  request: Request,
  attempt: ModelAttempt,
  hold: Hold | undefined,
  outcome: AttemptOutcome,
): Promise<void> {
  const { agent, work, round } = request;
  if (outcome.state === 'released') {
    if (hold !== undefined) await deps.ledger.releaseHold(hold);
    return;
  }
  const cost = {
    agentName: agent.name,
    personId: work.origin.personId,
    sessionId: work.sessionId,
    turnId: work.turnId,
    model: attempt.ref.text,
    usage: outcome.usage,
    costMicros: outcome.costMicros,
  };
  const isWarningDue =
    hold === undefined
      ? await deps.ledger.recordCost(attemptKey(work, round, attempt), cost).then(() => false)
      : (await deps.ledger.settleHold(hold, cost)).isWarningDue;
  deps.hooks?.tell(usageNews({ agent, work }, cost));
  if (isWarningDue) await warn(deps, agent, work);
}

/** Tells the thread that a budget has passed 80 %; a failure here must not fail the answer that was paid for. */
async function warn(deps: AskModelDeps, agent: AgentProfile, work: TurnWork): Promise<void> {
  try {
    const warnings = await deps.db.transaction().execute(async (tx) => {
      const due = await takeWarnings(tx, agent.name);
      await putMessages(
        tx,
        due.map((warning) => noticeMessage(work, `budget:${warning.period}`, 'warn', describeWarning(warning))),
      );
      return due;
    });
    for (const { period, spentMicros, limitMicros, resetsAt } of warnings) {
      deps.hooks?.tell({ kind: 'budget_warning', agent, work, period, spentMicros, limitMicros, resetsAt });
    }
  } catch (err) {
    deps.log.warn({ err, agent: agent.name }, 'budget warning could not be said');
  }
}
