import type { Clock } from '#core/kit/clock.ts';
import { toWellFormed } from '#core/kit/json.ts';
import type { Log } from '#core/kit/log.ts';
import type { FormSpec } from '../channel.ts';
import type { DiscordApi } from './discord-api.ts';
import { classifyDiscordError, codeOf, codes } from './discord-errors.ts';
import { type InteractionRef, isAlive, timeOf, unpackInteraction } from './interaction-ref.ts';
import { flags } from './render-body.ts';

/** Kinds of a first answer to an interaction. */
const answers = { message: 4, thinking: 5, keep: 6, suggestions: 8, form: 9 } as const;
/** Discord wants a first answer within three seconds; the half of it is left to whoever knows what to say. */
const deferAfterMs = 700;
const answerWithinMs = 3_000;
/** A command that nobody answered looks busy; just before its token dies the sign is taken away. */
const giveUpAfterMs = 14 * 60_000;
const noticeCharsMax = 1_900;

interface Open {
  readonly ref: InteractionRef;
  /** It came from a message of ours, which may simply stay as it is. */
  readonly hasMessage: boolean;
  state: 'new' | 'deferred' | 'answered';
  timer: NodeJS.Timeout | undefined;
}

/** The first answers to presses, commands and forms, which Discord wants within seconds. */
export class InteractionDesk {
  readonly #api: DiscordApi;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #open = new Map<string, Open>();
  readonly #pendingDefers = new Set<Promise<void>>();

  constructor(deps: { readonly api: DiscordApi; readonly log: Log; readonly clock: Clock }) {
    this.#api = deps.api;
    this.#log = deps.log;
    this.#clock = deps.clock;
  }

  /** To be called once an interaction is stored: from then on it is acknowledged in time, whoever acts on it. */
  watch(ref: InteractionRef, hasMessage: boolean): void {
    const ageMs = this.#clock.now().getTime() - timeOf(ref.id);
    if (ageMs >= answerWithinMs) return;
    const open: Open = { ref, hasMessage, state: 'new', timer: undefined };
    const waitMs = Math.min(deferAfterMs, Math.max(0, deferAfterMs - ageMs));
    open.timer = setTimeout(() => void this.#defer(open), waitMs);
    open.timer.unref();
    this.#open.set(ref.id, open);
  }

  /** Best effort: the press itself is stored and takes effect, whatever becomes of the little notice. */
  async acknowledge(packed: string, notice?: { readonly text: string; readonly isAlert: boolean }): Promise<void> {
    const ref = unpackInteraction(packed);
    if (ref === undefined || !isAlive(ref, this.#clock.now().getTime())) return;
    try {
      if (notice === undefined || notice.text.trim() === '') await this.#acknowledgeSilently(ref);
      else await this.#tell(ref, notice);
    } catch (err) {
      this.#log.debug({ reason: classifyDiscordError(err).reason }, 'interaction was not acknowledged');
    }
  }

  /** @returns false when it is too late: a form can only be the first answer. */
  async openForm(packed: string, form: FormSpec): Promise<boolean> {
    const ref = unpackInteraction(packed);
    if (ref === undefined || ref.kind === 'form') return false;
    const open = this.#open.get(ref.id);
    if (open !== undefined && open.state !== 'new') return false;
    const before = this.#begin(ref);
    try {
      await this.#api.answerInteraction(ref, { type: answers.form, data: modalOf(form) });
      return true;
    } catch (err) {
      this.#log.debug({ reason: classifyDiscordError(err).reason }, 'form was not opened');
      if (before === 'new' && codeOf(err) !== codes.alreadyAcknowledged) await this.acknowledge(packed);
      return false;
    }
  }

  /** Answers what is being typed into an option; too late is as good as never. */
  async suggest(
    interaction: { readonly id: string; readonly token: string },
    values: readonly string[],
  ): Promise<void> {
    const choices = values
      .map((value) => toWellFormed(value).slice(0, 100))
      .filter((value) => value !== '')
      .slice(0, 25)
      .map((value) => ({ name: value, value }));
    try {
      await this.#api.answerInteraction(interaction, { type: answers.suggestions, data: { choices } });
    } catch (err) {
      this.#log.debug({ reason: classifyDiscordError(err).reason }, 'suggestions were not shown');
    }
  }

  /** Acknowledges what is still open: the next process finds it stored, but may start too late for Discord. */
  async close(): Promise<void> {
    const open = [...this.#open.values()];
    this.#open.clear();
    await Promise.all(open.map(async (entry) => await this.#defer(entry)));
    for (const { timer } of this.#open.values()) clearTimeout(timer);
    for (const { timer } of open) clearTimeout(timer);
    this.#open.clear();
    await Promise.all(this.#pendingDefers);
  }

  #begin(ref: InteractionRef): Open['state'] {
    const open = this.#open.get(ref.id);
    if (open === undefined) return 'new';
    const before = open.state;
    clearTimeout(open.timer);
    open.state = 'answered';
    this.#open.delete(ref.id);
    return before;
  }

  async #acknowledgeSilently(ref: InteractionRef): Promise<void> {
    const open = this.#open.get(ref.id);
    if (open !== undefined && open.state !== 'new') return;
    // A command has to be answered in words; the busy sign stands for them until then.
    if (ref.kind === 'command') {
      await this.#defer(open ?? { ref, hasMessage: false, state: 'new', timer: undefined });
      return;
    }
    this.#begin(ref);
    await this.#api.answerInteraction(ref, { type: answers.keep });
  }

  async #tell(ref: InteractionRef, notice: { readonly text: string; readonly isAlert: boolean }): Promise<void> {
    // Notices over a press are for the one who pressed; those over a command stand for its answer.
    const isPrivate = notice.isAlert || ref.kind !== 'command';
    const body = {
      content: toWellFormed(notice.text).slice(0, noticeCharsMax),
      allowed_mentions: { parse: [] },
      flags: flags.suppressEmbeds | (isPrivate ? flags.ephemeral : 0),
    };
    const before = this.#begin(ref);
    if (before === 'new') {
      try {
        await this.#api.answerInteraction(ref, { type: answers.message, data: body });
        return;
      } catch (err) {
        // Another process acknowledged it, or the one before this one did.
        if (codeOf(err) !== codes.alreadyAcknowledged) throw err;
      }
    }
    if (ref.kind !== 'command') {
      await this.#api.followUp(ref.appId, ref.token, body);
      return;
    }
    const { content, allowed_mentions } = body;
    const shown = await this.#api.interactionMessage(ref.appId, ref.token);
    if ((shown.flags & flags.loading) === 0) await this.#api.followUp(ref.appId, ref.token, body);
    else await this.#api.editInteractionMessage(ref.appId, ref.token, '@original', { content, allowed_mentions });
  }

  async #defer(open: Open): Promise<void> {
    if (open.state !== 'new') return;
    const { ref, hasMessage } = open;
    clearTimeout(open.timer);
    open.state = 'deferred';
    const isBusy = ref.kind === 'command' || (ref.kind === 'form' && !hasMessage);
    const work = this.#api
      .answerInteraction(ref, isBusy ? { type: answers.thinking } : { type: answers.keep })
      .then(() => undefined)
      .catch((err: unknown) => {
        // The worker may have answered first.
        this.#log.debug({ reason: classifyDiscordError(err).reason }, 'interaction was not deferred');
      });
    this.#pendingDefers.add(work);
    await work;
    this.#pendingDefers.delete(work);
    if (!isBusy) {
      this.#open.delete(ref.id);
      return;
    }
    open.timer = setTimeout(() => void this.#takeSignAway(ref), giveUpAfterMs);
    open.timer.unref();
    this.#open.set(ref.id, open);
  }

  async #takeSignAway(ref: InteractionRef): Promise<void> {
    this.#open.delete(ref.id);
    try {
      const shown = await this.#api.interactionMessage(ref.appId, ref.token);
      if ((shown.flags & flags.loading) !== 0) {
        await this.#api.deleteInteractionMessage(ref.appId, ref.token, '@original');
      }
    } catch (err) {
      this.#log.debug({ reason: classifyDiscordError(err).reason }, 'busy sign was not taken away');
    }
  }
}

const labelType = 18;
const inputType = 4;

/** Titles and labels hold 45 characters. */
function modalOf(form: FormSpec): unknown {
  return {
    custom_id: form.token,
    title: toWellFormed(form.title).slice(0, 45) || '…',
    components: form.fields.slice(0, 5).map((field) => ({
      type: labelType,
      label: toWellFormed(field.label).slice(0, 45) || field.name,
      component: {
        type: inputType,
        custom_id: field.name.slice(0, 100),
        style: field.isLong ? 2 : 1,
        required: field.isRequired,
        max_length: Math.min(4_000, Math.max(1, field.charsMax)),
      },
    })),
  };
}
