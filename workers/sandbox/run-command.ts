import { AppError, isAppError } from '#core/kit/errors.ts';
import { toWellFormed } from '#core/kit/json.ts';
import type { LiveContainer } from './live-container.ts';
import type { ExecRequest, ExecResult } from './sandbox.ts';
import type { SessionContainer } from './session-container.ts';
import type { ToolboxDone, ToolboxRequest } from './toolbox-protocol.ts';

/** 128 + SIGKILL: what a shell reports for a command the kernel ended. */
const killedCode = 137;

export interface CommandRequest extends Omit<ExecRequest, 'command'> {
  readonly argv: readonly string[];
  /** A workspace path that becomes the last argument. */
  readonly operand?: string;
}

export interface CommandResult extends ExecResult {
  /** What came before anything was dropped, NUL bytes included. */
  readonly head: string;
}

/**
 * Runs a command in a live container until it ends by itself, by its timeout, or by the signal. The toolbox ends the
 * whole tree; when it does not answer in `endMs`, the container is killed, so that a cancel never takes a second.
 * @throws ToolboxRefusal, AppError `sandbox.lost`, `sandbox.oom`, `sandbox.protocol`.
 */
export async function runCommand(
  hands: SessionContainer,
  live: LiveContainer,
  request: CommandRequest,
  endMs: number,
): Promise<CommandResult> {
  const startedAt = performance.now();
  const oomsBefore = hands.oomCount;
  const output = collectOutput(request.onOutput);
  const forced = Promise.withResolvers<'timeout' | 'cancelled'>();
  let forceTimer: NodeJS.Timeout | undefined;
  const force = (ended: 'timeout' | 'cancelled', ms: number) => {
    clearTimeout(forceTimer);
    forceTimer = setTimeout(() => forced.resolve(ended), ms);
  };
  const call = live.connection.call(toExec(request), {
    bytesMax: request.outputBytesMax,
    onOutput: output.take,
    ...(request.stdin === undefined ? {} : { body: Buffer.from(request.stdin) }),
  });
  const onAbort = () => {
    live.connection.cancel(call.id);
    force('cancelled', endMs);
  };
  force('timeout', request.timeoutMs + endMs);
  if (request.signal.aborted) onAbort();
  request.signal.addEventListener('abort', onAbort, { once: true });
  const result = (ended: ExecResult['ended'], done?: ToolboxDone, tail?: Buffer): CommandResult => ({
    exitCode: ended === 'exit' || ended === 'oom' ? done?.code : undefined,
    ended,
    ...output.text(done?.dropped ?? 0, tail),
    droppedBytes: done?.dropped ?? 0,
    durationMs: Math.round(performance.now() - startedAt),
  });
  try {
    const answer = await Promise.race([call.result, forced.promise]);
    if (typeof answer === 'string') {
      await hands.discard(live, new AppError('sandbox.lost', 'The sandbox did not end a command and was replaced.'));
      await call.result.catch(() => undefined);
      return result(answer);
    }
    const ended = answer.done.ended ?? 'exit';
    const isOom = ended === 'exit' && answer.done.code === killedCode && (await hands.hasRunOutOfMemory(oomsBefore));
    return result(isOom ? 'oom' : ended, answer.done, answer.body);
  } catch (err) {
    if (isAppError(err, 'sandbox.lost') && (await hands.hasRunOutOfMemory(oomsBefore))) {
      throw new AppError('sandbox.oom', 'The sandbox ran out of memory and was replaced; its files are kept.', {
        mend: 'Use less memory at once, or raise sandbox.memory_mb of the agent.',
        cause: err,
      });
    }
    throw err;
  } finally {
    clearTimeout(forceTimer);
    request.signal.removeEventListener('abort', onAbort);
  }
}

function toExec(request: CommandRequest): ToolboxRequest {
  return {
    op: 'exec',
    argv: request.argv,
    cwd: request.workingDirectory ?? '/workspace',
    timeoutMs: Math.ceil(request.timeoutMs),
    keep: Math.max(2, Math.trunc(request.outputBytesMax)),
    ...(request.operand === undefined ? {} : { operand: request.operand }),
  };
}

/** Gathers kept output and passes everything on as text for progress. */
function collectOutput(onOutput: ((chunk: string) => void) | undefined) {
  const kept: Buffer[] = [];
  const decoder = new TextDecoder();
  const take = (chunk: Buffer, isKept: boolean) => {
    if (isKept) kept.push(chunk);
    const text = isKept ? decoder.decode(chunk, { stream: true }) : chunk.toString('utf8');
    if (text !== '') onOutput?.(toWellFormed(text));
  };
  const text = (dropped: number, tail: Buffer | undefined) => {
    const head = Buffer.concat(kept);
    if (dropped === 0) {
      const whole = Buffer.concat([head, tail ?? Buffer.alloc(0)]).toString('utf8');
      return { output: toWellFormed(whole), head: whole };
    }
    const first = head.toString('utf8');
    const gap = `\n[... ${dropped} bytes of output left out here ...]\n`;
    return { output: toWellFormed(`${first}${gap}${tail?.toString('utf8') ?? ''}`), head: first };
  };
  return { take, text };
}
