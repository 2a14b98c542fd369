import type { SessionEvent } from '#core/sessions/session.ts';
import { placeEvents, toAssistantMessage } from '#core/turns/build-context.ts';
import { cleanLine, cleanText } from './chat/clean-text.ts';

/** One thing an event tells: who, and what they said or did. */
export interface EventLine {
  readonly who: string;
  readonly text: string;
}

/** More of what a tool printed says little to somebody who reads along; `--json` has all of it. */
const outputLinesMax = 20;
const outputCharsMax = 4_000;
/** A line of arguments is enough to recognise a call. */
const argumentCharsMax = 200;

/**
 * An event of a session for somebody who reads along. Everything in it was written by strangers, models and programs
 * and is cleaned for the terminal.
 */
export function describeEvent(event: SessionEvent, agentName: string): readonly EventLine[] {
  const [placed] = placeEvents([event]);
  // A kind this version does not know is shown as it was stored.
  if (placed === undefined) return [line(event.kind, cut(cleanLine(JSON.stringify(event.payload)), argumentCharsMax))];
  const fact = placed.event;
  switch (fact.kind) {
    case 'user_message':
      return [line(fact.author, [fact.text, ...(fact.files ?? []).map((file) => `[file ${file.name}]`)].join('\n'))];
    case 'files_received':
      return fact.files.map((file) =>
        line(
          'file',
          file.problem === undefined ? `${file.path ?? file.name} taken in` : `${file.name}: ${file.problem}`,
        ),
      );
    case 'assistant_message':
      return toAssistantMessage(fact).parts.flatMap((part) => {
        if (part.type === 'text' && part.text.trim() !== '') return [line(agentName, part.text)];
        if (part.type === 'refusal') return [line(agentName, `refuses: ${part.text}`)];
        if (part.type !== 'tool_call') return [];
        return [line(agentName, `calls ${part.name} ${cut(cleanLine(part.rawArguments), argumentCharsMax)}`)];
      });
    case 'tool_started':
      return [line(fact.name, 'runs')];
    case 'tool_finished':
      return [line(fact.name, `${fact.isError ? 'failed' : 'done'}\n${cutOutput(fact.text)}`)];
    case 'approval_requested':
      return [line('approval', `asked for as ${fact.approvalId}: ${fact.summary}`)];
    case 'question_asked':
      return [line('question', fact.text)];
    case 'notice':
      return [line('notice', fact.text)];
    case 'turn_ended':
      return [line('turn', fact.reason === undefined ? fact.state : `${fact.state}: ${fact.reason}`)];
  }
}

function line(who: string, text: string): EventLine {
  return { who: cleanLine(who), text: cleanText(text).trim() };
}

function cutOutput(text: string): string {
  const lines = cut(text, outputCharsMax).split('\n');
  const left = lines.length - outputLinesMax;
  return left > 0 ? [...lines.slice(0, outputLinesMax), `… ${left} more lines`].join('\n') : lines.join('\n');
}

function cut(text: string, charsMax: number): string {
  return text.length <= charsMax ? text : `${text.slice(0, charsMax)} …`;
}
