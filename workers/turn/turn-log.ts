import type { Json } from '#core/kit/json.ts';
import type { ModelMessage, ToolCallPart } from '#core/models/model-port.ts';
import {
  buildMessages,
  type LoadedPictures,
  type PlacedEvent,
  pictureIds,
  toAssistantMessage,
  toolCalls,
} from '#core/turns/build-context.ts';
import type { AttachedFile, TurnEvent } from '#core/turns/turn-event.ts';
import type { EndedCall } from '../hooks/turn-hooks.ts';

/** The log of one turn over the history of its session: what is stored, and what waits for the next boundary. */
export class TurnLog {
  readonly #history: readonly TurnEvent[];
  readonly #own: TurnEvent[];
  #unsaved: TurnEvent[] = [];

  constructor(turnId: string, events: readonly PlacedEvent[]) {
    this.#history = events.filter((placed) => placed.turnId !== turnId).map((placed) => placed.event);
    this.#own = events.filter((placed) => placed.turnId === turnId).map((placed) => placed.event);
  }

  /** Whether the message that was accepted as this turn stands in the log already. */
  hasMessageOf(turnId: string): boolean {
    return this.#own.some((event) => event.kind === 'user_message' && event.sourceTurnId === turnId);
  }

  /** Messages of this turn whose files nobody has taken in yet. */
  messagesToTakeIn(): { readonly sourceTurnId: string; readonly files: readonly AttachedFile[] }[] {
    const done = new Set(this.#own.flatMap((event) => (event.kind === 'files_received' ? [event.sourceTurnId] : [])));
    return this.#own.flatMap((event) =>
      event.kind === 'user_message' &&
      event.files !== undefined &&
      event.files.length > 0 &&
      !done.has(event.sourceTurnId)
        ? [{ sourceTurnId: event.sourceTurnId, files: event.files }]
        : [],
    );
  }

  add(...events: readonly TurnEvent[]): void {
    this.#own.push(...events);
    this.#unsaved.push(...events);
  }

  /** Hands out what is not stored yet, once. */
  takeUnsaved(): TurnEvent[] {
    const events = this.#unsaved;
    this.#unsaved = [];
    return events;
  }

  messages(pictures?: LoadedPictures): ModelMessage[] {
    return buildMessages([...this.#history, ...this.#own], pictures);
  }

  /** The stored files of all pictures of the conversation, oldest first. */
  pictureIds(): string[] {
    return pictureIds([...this.#history, ...this.#own]);
  }

  /** Answers of this turn that asked for tools; each is one round. */
  get rounds(): number {
    return this.#answers().filter((message) => toolCalls(message).length > 0).length;
  }

  /** Texts already said by this turn, in order. */
  get texts(): string[] {
    return this.#answers()
      .map((message) => message.parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join(''))
      .filter((text) => text.trim() !== '');
  }

  /** Calls of the last answer that have no result yet, in the order the model made them. */
  openCalls(): ToolCallPart[] {
    const last = this.#answers().at(-1);
    if (last === undefined) return [];
    const finished = new Set(
      this.#sinceLastAnswer().flatMap((event) => (event.kind === 'tool_finished' ? [event.callId] : [])),
    );
    return toolCalls(last).filter((call) => !finished.has(call.id));
  }

  /** Every call of this turn that is not open any more, for the loop detector of a later pass. */
  closedCalls(): ToolCallPart[] {
    const open = new Set(this.openCalls().map((call) => call.id));
    const answers = this.#answers();
    return answers.flatMap((message, index) =>
      toolCalls(message).filter((call) => index < answers.length - 1 || !open.has(call.id)),
    );
  }

  /** Calls of this turn with their outcome, oldest first. */
  endedCalls(): EndedCall[] {
    const ended: EndedCall[] = [];
    let calls: readonly ToolCallPart[] = [];
    for (const event of this.#own) {
      if (event.kind === 'assistant_message') calls = toolCalls(toAssistantMessage(event));
      if (event.kind !== 'tool_finished') continue;
      // Looked up in the answer before it: some providers use the same id again in a later one.
      const call = calls.find(({ id }) => id === event.callId);
      const args = call?.parsed.ok === true ? call.parsed.arguments : undefined;
      ended.push({ tool: event.name, args, isError: event.isError });
    }
    return ended;
  }

  /** Whether an open call was begun and did not get as far as asking a person: without a result, its outcome is unknown. */
  wasStarted(callId: string): boolean {
    return this.#lastOf(callId) === 'tool_started';
  }

  /** Whether an open call that was begun asked a person and goes on with the answer. */
  isResumed(callId: string): boolean {
    return (
      this.#lastOf(callId) === 'question_asked' &&
      this.#sinceLastAnswer().some((event) => event.kind === 'tool_started' && event.callId === callId)
    );
  }

  #lastOf(callId: string): 'tool_started' | 'question_asked' | undefined {
    const last = this.#sinceLastAnswer().findLast(
      (event) => (event.kind === 'tool_started' || event.kind === 'question_asked') && event.callId === callId,
    );
    return last?.kind === 'tool_started' || last?.kind === 'question_asked' ? last.kind : undefined;
  }

  /** Names an open call for good: some providers use the same id again in a later answer. */
  callKey(callId: string): string {
    return `${this.rounds}:${callId}`;
  }

  #sinceLastAnswer(): TurnEvent[] {
    return this.#own.slice(this.#own.findLastIndex((event) => event.kind === 'assistant_message') + 1);
  }

  #answers(): ModelMessage[] {
    return this.#own.flatMap((event) => (event.kind === 'assistant_message' ? [toAssistantMessage(event)] : []));
  }
}

/** A model's answer as an event; reasoning stays only in the provider's native blocks. */
export function answerEvent(answer: {
  readonly message: ModelMessage;
  readonly model: string;
  readonly stop: string;
  readonly usage: object;
  readonly costMicros: bigint;
}): TurnEvent {
  return {
    kind: 'assistant_message',
    parts: answer.message.parts.filter((part) => part.type !== 'reasoning') as unknown as Json[],
    ...(answer.message.native === undefined ? {} : { native: answer.message.native as unknown as Json }),
    model: answer.model,
    stop: answer.stop,
    usage: answer.usage as Json,
    costMicros: answer.costMicros.toString(),
  };
}
