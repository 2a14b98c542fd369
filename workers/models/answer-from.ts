import { ModelError, type ModelMessage, type Part } from '#core/models/model-port.ts';
import type { ModelRef } from '#core/models/model-ref.ts';
import { attemptModel, type Call, type End } from './attempt-model.ts';
import { havePictures } from './hide-pictures.ts';
import type { Answer } from './model-call.ts';

/** How often a paused answer is continued before we call it stuck (Anthropic `pause_turn`). */
const continuationsMax = 5;
const nudge: ModelMessage = {
  role: 'user',
  parts: [{ type: 'text', text: '(Your last answer was empty. Answer the message above, or call a tool.)' }],
};

/**
 * One model to a full answer: paused answers are continued, an empty one is asked for once more, and one that was
 * refused because of a picture is asked for without pictures, which would otherwise block the conversation for good; that is
 * remembered, so that the next round does not ask for the same refusal.
 * @throws ModelError when the model could not be brought to say or do anything.
 */
export async function answerFrom(call: Call, ref: ModelRef): Promise<Answer> {
  const { log, pictureRefusals } = call.deps;
  const messages = pictureRefusals.hideKnown(ref, call.messages);
  try {
    return await answerTo(call, ref, messages);
  } catch (err) {
    if (!isAboutPictures(err) || !havePictures(messages)) throw err;
    log.warn({ model: ref.text, reason: err.message }, 'pictures were refused, asking without them');
    const answer = await answerTo(call, ref, pictureRefusals.hideAll(messages));
    pictureRefusals.remember(ref, err, messages);
    return answer;
  }
}

/** Vendors have a dozen codes for pictures that are broken, too large, too many or not allowed; all say which it is. */
function isAboutPictures(err: unknown): err is ModelError {
  if (!(err instanceof ModelError) || err.emitted) return false;
  const isRefusal = err.kind === 'invalid' || err.kind === 'content' || err.kind === 'context';
  return (
    isRefusal && (err.status === 413 || /image|picture|vision|multi-?modal/i.test(`${err.code ?? ''} ${err.message}`))
  );
}

async function answerTo(call: Call, ref: ModelRef, messages: readonly ModelMessage[]): Promise<Answer> {
  const done: End[] = [];
  for (let continuations = 0; ; continuations += 1) {
    const shown = done.map((end) => textOf(end.message)).join('');
    const end = await attemptModel(call, ref, [...messages, ...done.map((part) => part.message)], shown);
    done.push(end);
    if (end.stop !== 'continue') break;
    if (continuations >= continuationsMax) {
      throw new ModelError('protocol', `The model paused its answer ${continuations + 1} times without an end.`);
    }
  }
  let answer = joined(done);
  if (!saysSomething(answer.message) && answer.stop === 'stop') {
    call.deps.log.warn({ model: ref.text }, 'model answered nothing, asking once more');
    answer = joined([await attemptModel(call, ref, [...messages, nudge], '')]);
  }
  return checkedAnswer(call, ref, answer);
}

function checkedAnswer(call: Call, ref: ModelRef, answer: Answer): Answer {
  const { message, stop } = answer;
  if (stop === 'other') call.deps.log.warn({ model: ref.text }, 'model stopped for an unknown reason');
  if (saysSomething(message)) return answer;
  switch (stop) {
    case 'refused':
      return {
        stop,
        message: {
          ...message,
          parts: [...message.parts, { type: 'refusal', text: 'The model declined to answer this.' }],
        },
      };
    case 'length':
      throw new ModelError(
        'invalid',
        `It used its whole limit of ${call.input.request.outputTokensMax} tokens before it said anything; a higher output_tokens_max helps.`,
        { code: 'answer_empty' },
      );
    case 'context_full':
      throw new ModelError('context', 'The context window is full.', { code: 'answer_empty' });
    case 'stop':
    case 'tools':
    case 'other':
      throw new ModelError('protocol', 'It answered nothing, twice.', { code: 'answer_empty' });
  }
}

/** One message from an answer that came in several parts; their native blocks belong together too. */
function joined(ends: readonly End[]): Answer {
  const last = ends.at(-1);
  if (last === undefined || last.stop === 'continue') throw new ModelError('protocol', 'The answer has no end.');
  if (ends.length === 1) return { message: last.message, stop: last.stop };
  const parts = ends.flatMap((end): readonly Part[] => end.message.parts);
  const natives = ends.map((end) => end.message.native);
  const blocks = natives.flatMap((native) => (Array.isArray(native?.blocks) ? native.blocks : []));
  const native = natives[0];
  // Blocks are complete only if every part brought its own; a plain last part is rebuilt from the neutral form.
  const isWhole = native !== undefined && natives.every((part) => Array.isArray(part?.blocks));
  return {
    stop: last.stop,
    message: { role: 'assistant', parts, ...(isWhole ? { native: { ...native, blocks } } : {}) },
  };
}

function saysSomething(message: ModelMessage): boolean {
  return message.parts.some((part) => {
    if (part.type === 'tool_call') return true;
    return (part.type === 'text' || part.type === 'refusal') && part.text.trim() !== '';
  });
}

function textOf(message: ModelMessage): string {
  return message.parts.map((part) => (part.type === 'text' ? part.text : '')).join('');
}
