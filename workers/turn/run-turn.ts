import type { AgentProfile } from '#core/agents/agent-profile.ts';
import { isDatabaseAway } from '#core/kit/database-away.ts';
import { AppError, toAppError } from '#core/kit/errors.ts';
import { TurnAbort } from '#core/lanes/lane.ts';
import type { ModelMessage, ModelTool } from '#core/models/model-port.ts';
import type { NewMessage } from '#core/outbox/put-messages.ts';
import { readEvents } from '#core/sessions/session-store.ts';
import { placeEvents, toolCalls } from '#core/turns/build-context.ts';
import type { LiveAnswer } from '../delivery/live-answer.ts';
import type { ProgressCard } from '../delivery/progress-card.ts';
import type { PromptSection } from '../hooks/turn-hooks.ts';
import type { Tool } from '../tools/tool.ts';
import { LoopDetector } from './loop-detector.ts';
import { runOpenCalls } from './run-open-calls.ts';
import { systemPrompt } from './system-prompt.ts';
import { takeInFiles } from './take-in-files.ts';
import type { ModelAnswer, PassOutcome, TurnControl, TurnDeps, TurnMessage, TurnWork } from './turn-deps.ts';
import { answerEvent, TurnLog } from './turn-log.ts';
import { failureText, noticeMessage, sayKey, sayMessage } from './turn-messages.ts';
import { TurnPictures } from './turn-pictures.ts';
import { toModelTools } from './turn-setup.ts';
import { openTurnView, withLastView } from './turn-view.ts';

/** Workers a turn may take down before it is given up: more than bad luck, fewer than an outage. */
const crashesMax = 4;

/** Everything one pass over a turn shares. */
interface Pass {
  readonly deps: TurnDeps;
  readonly work: TurnWork;
  readonly control: TurnControl;
  readonly agent: AgentProfile;
  readonly log: TurnLog;
  readonly live: LiveAnswer;
  readonly card: ProgressCard;
  readonly loops: LoopDetector;
  readonly tools: ReadonlyMap<string, Tool>;
  readonly modelTools: readonly ModelTool[];
  readonly pictures: TurnPictures;
  /** Added to the system message: what hooks and other parts have to say to the model. */
  readonly sections: readonly PromptSection[];
  readonly signal: AbortSignal;
  /** Text of the answer being streamed, kept for an honest partial message when the turn is stopped. */
  partial: string;
}

/**
 * Works on a turn until it ends or has to wait: model call, tool calls, model call, …, answer. Resumes from the
 * session's log, so a pass may begin anywhere. Never throws for what a person caused; a lost lane rejects
 * with a `TurnAbort` and nothing may be written; a database that is away rejects with its error, and another pass begins
 * from what was stored.
 */
export async function runTurn(deps: TurnDeps, work: TurnWork, control: TurnControl): Promise<PassOutcome> {
  const rows = await readEvents(deps.db, work.sessionId, deps.limits.contextEventsMax);
  const log = new TurnLog(work.turnId, placeEvents(rows));
  for (const message of work.messages) addUserMessage(log, message);

  const { live, card, sign } = openTurnView(deps, work, log);
  const watchdog = new AbortController();
  const watchdogMs = work.kind === 'task' ? deps.limits.taskMs : deps.limits.messageMs;
  const timer = setTimeout(() => watchdog.abort(timeoutError(watchdogMs)), watchdogMs);
  let pass: Pass | undefined;
  try {
    if (work.crashes >= crashesMax) throw crashError(work.crashes);
    const agent = await deps.findAgent(work.agentName, work.agentVersion);
    const hookTurn = { agent, work };
    const tools = await deps.toolsOf(agent, work);
    const loops = new LoopDetector();
    for (const call of log.closedCalls())
      loops.observe(call.name, call.parsed.ok ? call.parsed.arguments : call.rawArguments);
    pass = {
      deps,
      work,
      control,
      agent,
      log,
      live,
      card,
      loops,
      tools,
      modelTools: toModelTools(tools, agent),
      pictures: new TurnPictures(deps.db),
      sections: await deps.hooks.context(hookTurn),
      signal: AbortSignal.any([control.signal, watchdog.signal]),
      partial: '',
    };
    sign.working();
    deps.hooks.tell({ kind: 'job_claimed', attempt: work.attempts, ...hookTurn });
    deps.hooks.turnEvent({ kind: 'started', isNewSession: rows.length === 0, ...hookTurn });
    const outcome = await loop(pass);
    await Promise.all([live.close(), card.close()]);
    deps.hooks.turnEvent({ kind: outcome.state === 'done' ? 'idle' : 'waiting', ...hookTurn });
    return withLastView(outcome, card, sign);
  } catch (err) {
    await Promise.all([live.close(), card.close()]);
    const abort = control.signal.aborted ? control.signal.reason : err;
    if (abort instanceof TurnAbort) {
      if (pass !== undefined && abort.kind === 'cancelled')
        deps.hooks.turnEvent({ kind: 'aborted', agent: pass.agent, work });
      return withLastView(endAborted(abort, work, log, pass?.partial ?? ''), card, sign);
    }
    if (isDatabaseAway(err)) throw err;
    const reason: unknown = watchdog.signal.aborted ? watchdog.signal.reason : err;
    if (pass !== undefined) {
      deps.hooks.turnEvent({ kind: 'failed', agent: pass.agent, work, code: toAppError(reason).code });
    }
    return withLastView(endFailed(deps, work, log, reason, pass?.partial ?? ''), card, sign);
  } finally {
    clearTimeout(timer);
  }
}

async function loop(pass: Pass): Promise<PassOutcome> {
  const { log, work, deps } = pass;
  const roundsMax = work.kind === 'task' ? deps.limits.taskRoundsMax : deps.limits.messageRoundsMax;
  for (;;) {
    if (log.openCalls().length > 0) {
      const waiting = await runOpenCalls({
        ...pass,
        // What was approved is spent already: it is carried out here and not handed back.
        reach: () => reach(pass, [], { mayRelease: false }),
      });
      if (waiting !== undefined) {
        return {
          state: 'waiting',
          waitingFor: waiting,
          events: log.takeUnsaved(),
          messages: [],
          messagesIfCancelled: stopped(work, log, ''),
        };
      }
      await reach(pass);
    }
    if (log.rounds >= roundsMax) {
      throw new AppError(
        'turn.iterations',
        `I used all ${roundsMax} rounds of tool calls without reaching an answer.`,
        {
          mend: 'Write "go on" to let me continue from here, or use /run for a longer task.',
        },
      );
    }
    // Stored before a model reads of them; another message with files may come in with the same boundary.
    for (let told = await takeInFiles(pass); told !== undefined; told = await takeInFiles(pass))
      await reach(pass, told);
    const answer = await ask(pass);
    await Promise.all([answer.booked, pass.live.pause()]);
    const calls = toolCalls(answer.message);
    const text = textOf(answer.message);
    log.add(answerEvent(answer));
    if (calls.length === 0) return done(pass, answer, text);
    pass.partial = '';
    // The calls are stored before they are carried out; what was said with them goes out with the same commit.
    await reach(pass, text.trim() === '' ? [] : [sayMessage(work, log.texts.length - 1, text)]);
  }
}

/** Stores what happened and takes in what came: the one place a cancel or a steered message reaches a running turn. */
async function reach(
  pass: Pass,
  messages: readonly NewMessage[] = [],
  { mayRelease } = { mayRelease: true },
): Promise<void> {
  const verdict = await pass.control.boundary(pass.log.takeUnsaved(), messages);
  if (verdict.state !== 'go') throw new TurnAbort(verdict.state);
  for (const message of verdict.steered) addUserMessage(pass.log, message);
  if (mayRelease && pass.control.stopping.aborted) throw new TurnAbort('stopping');
}

async function ask(pass: Pass): Promise<ModelAnswer> {
  const { deps, work, agent, log, live, signal } = pass;
  const system: ModelMessage = {
    role: 'system',
    parts: [{ type: 'text', text: systemPrompt(agent, work.origin, deps.clock.now(), pass.sections) }],
  };
  const messages = log.messages(await pass.pictures.load(log.pictureIds()));
  live.begin(sayKey(work.turnId, log.texts.length));
  return await deps.askModel(
    { agent, work, messages: [system, ...messages], tools: pass.modelTools, round: log.rounds },
    {
      signal,
      onEvent: (event) => {
        if (event.type !== 'text') return;
        pass.partial += event.delta;
        live.push(event.delta);
      },
      onRestart: () => {
        pass.partial = '';
        live.reset();
      },
    },
  );
}

function done(pass: Pass, answer: ModelAnswer, text: string): PassOutcome {
  const { log, work } = pass;
  const index = log.texts.length - 1;
  const messages: NewMessage[] = [sayMessage(work, Math.max(index, 0), text)];
  if (answer.stop === 'length') {
    messages.push(
      noticeMessage(work, 'cut', 'warn', 'The answer was cut at its length limit. Write "go on" for the rest.'),
    );
  }
  log.add({ kind: 'turn_ended', state: 'done' });
  return { state: 'done', events: log.takeUnsaved(), messages, messagesIfCancelled: [...messages, stopNotice(work)] };
}

/** Ends a pass that was told to stop. A fenced one rejects: nothing of it may be written. */
function endAborted(abort: TurnAbort, work: TurnWork, log: TurnLog, partial: string): PassOutcome {
  switch (abort.kind) {
    case 'fenced':
      throw abort;
    case 'stopping':
      return { state: 'released', events: log.takeUnsaved(), messages: [], messagesIfCancelled: [] };
    case 'cancelled': {
      log.add({ kind: 'turn_ended', state: 'cancelled' });
      const messages = stopped(work, log, partial);
      return { state: 'cancelled', events: log.takeUnsaved(), messages, messagesIfCancelled: messages };
    }
  }
}

function endFailed(deps: TurnDeps, work: TurnWork, log: TurnLog, err: unknown, partial: string): PassOutcome {
  const error = toAppError(err);
  const level = error.blame === 'bug' || error.blame === 'operator' ? 'error' : 'warn';
  deps.log[level]({ err, turnId: work.turnId, sessionId: work.sessionId, code: error.code }, 'turn failed');
  log.add({ kind: 'turn_ended', state: 'failed', reason: error.code });
  const shown = shownSoFar(work, log, partial);
  return {
    state: 'failed',
    errorCode: error.code,
    events: log.takeUnsaved(),
    messages: [...shown, noticeMessage(work, 'failed', 'error', failureText(error, work.turnId))],
    messagesIfCancelled: stopped(work, log, partial),
  };
}

/** What the thread reads when someone stopped the turn. */
function stopped(work: TurnWork, log: TurnLog, partial: string): NewMessage[] {
  return [...shownSoFar(work, log, partial), stopNotice(work)];
}

/** The text of an answer that broke off, under the key of its preview, so that it is kept and stands there once. */
function shownSoFar(work: TurnWork, log: TurnLog, partial: string): NewMessage[] {
  return partial.trim() === '' ? [] : [sayMessage(work, log.texts.length, partial)];
}

function stopNotice(work: TurnWork): NewMessage {
  return noticeMessage(work, 'stopped', 'info', 'Stopped.');
}

/** Records a message once, however often it is handed over. */
function addUserMessage(log: TurnLog, { turnId, payload }: TurnMessage): void {
  if (log.hasMessageOf(turnId)) return;
  log.add({
    kind: 'user_message',
    sourceTurnId: turnId,
    text: payload.text,
    author: payload.author,
    ...(payload.messageId === undefined ? {} : { messageId: payload.messageId }),
    ...(payload.files === undefined ? {} : { files: payload.files }),
  });
}

function textOf(message: ModelMessage): string {
  return message.parts.flatMap((part) => (part.type === 'text' || part.type === 'refusal' ? [part.text] : [])).join('');
}

function timeoutError(ms: number): AppError {
  return new AppError('turn.timeout', `This took longer than ${Math.round(ms / 60_000)} minutes, so I stopped it.`, {
    mend: 'Split the task into smaller ones, or use /run for a longer one.',
  });
}

function crashError(crashes: number): AppError {
  return new AppError('turn.crashed', `The worker died ${crashes} times while it worked on this, so I gave it up.`, {
    mend: 'Try it in another way, and tell the operator: the log has the reason.',
  });
}
