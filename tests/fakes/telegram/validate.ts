import { z } from 'zod';
import { badRequest } from './bot-api-error.ts';
import type { FakeButton, FakeEntity } from './world.ts';

const entitySchema = z.looseObject({
  type: z.string(),
  offset: z.int(),
  length: z.int(),
  url: z.string().optional(),
  language: z.string().optional(),
});

const buttonSchema = z.looseObject({
  text: z.string(),
  callback_data: z.string().optional(),
  url: z.string().optional(),
  style: z.string().optional(),
  disabled: z.object({}).optional(),
});

const markupSchema = z.looseObject({ inline_keyboard: z.array(z.array(buttonSchema)) });

/** Checks a text as the server does: encoding, emptiness, length in UTF-16 units. */
export function checkText(text: unknown, longest: number, mayBeEmpty = false): string {
  if (text === undefined && mayBeEmpty) return '';
  if (typeof text !== 'string') throw badRequest('message text is empty');
  if (!text.isWellFormed()) throw badRequest('strings must be encoded in UTF-8');
  const trimmed = text.trim();
  if (trimmed === '' && !mayBeEmpty) throw badRequest('message text is empty');
  if (text.length > longest) throw badRequest(longest === 1024 ? 'message caption is too long' : 'message is too long');
  return text;
}

/** Checks entities strictly: bounds, surrogate pairs, addresses, and which may be nested in which. */
export function checkEntities(text: string, given: unknown): readonly FakeEntity[] {
  if (given === undefined) return [];
  const parsed = z.array(entitySchema).safeParse(given);
  if (!parsed.success) throw badRequest("can't parse entities: expected an array of MessageEntity");
  const entities = parsed.data as FakeEntity[];
  for (const entity of entities) {
    const { offset, length } = entity;
    const end = offset + length;
    if (offset < 0 || length <= 0 || end > text.length) throw badRequest('ENTITY_BOUNDS_INVALID');
    if (isLowSurrogate(text, offset) || isLowSurrogate(text, end)) throw badRequest('ENTITY_BOUNDS_INVALID');
    if (entity.type === 'text_link' && !/^(?:https?|tg|mailto):/.test(entity.url ?? '')) {
      throw badRequest('ENTITY_URL_INVALID');
    }
    for (const other of entities) if (other !== entity) checkNesting(entity, other);
  }
  return entities;
}

function checkNesting(outer: FakeEntity, inner: FakeEntity): void {
  const start = Math.max(outer.offset, inner.offset);
  const end = Math.min(outer.offset + outer.length, inner.offset + inner.length);
  if (start >= end) return;
  const isContained = inner.offset >= outer.offset && inner.offset + inner.length <= outer.offset + outer.length;
  const contains = outer.offset >= inner.offset && outer.offset + outer.length <= inner.offset + inner.length;
  if (!isContained && !contains) throw badRequest("can't parse entities: entities overlap");
  if (outer.type === 'code' || outer.type === 'pre') {
    if (inner.type !== 'blockquote') throw badRequest("can't parse entities: code can't hold or be in other entities");
  }
  if (outer.type === inner.type) throw badRequest(`can't parse entities: nested ${outer.type}`);
}

function isLowSurrogate(text: string, index: number): boolean {
  const unit = text.charCodeAt(index);
  const before = text.charCodeAt(index - 1);
  return unit >= 0xdc00 && unit <= 0xdfff && before >= 0xd800 && before <= 0xdbff;
}

/** The emoji a bot may react with. */
export const allowedReactions: ReadonlySet<string> = new Set(
  '👍 👎 ❤ 🔥 🥰 👏 😁 🤔 🤯 😱 🤬 😢 🎉 🤩 🤮 💩 🙏 👌 🕊 🤡 🥱 🥴 😍 🐳 ❤‍🔥 🌚 🌭 💯 🤣 ⚡ 🍌 🏆 💔 🤨 😐 🍓 🍾 💋 🖕 😈 😴 😭 🤓 👻 👨‍💻 👀 🎃 🙈 😇 😨 🤝 ✍ 🤗 🫡 🎅 🎄 ☃ 💅 🤪 🗿 🆒 💘 🙉 🦄 😘 💊 🙊 😎 👾 🤷‍♂ 🤷 🤷‍♀ 😡'.split(
    ' ',
  ),
);

const forceReplySchema = z.strictObject({
  force_reply: z.literal(true),
  selective: z.boolean().optional(),
  input_field_placeholder: z.string().min(1).max(64).optional(),
});

/** Checks any markup of a new message: buttons, or a reply that opens by itself. */
export function checkReplyMarkup(given: unknown): {
  readonly buttons: readonly (readonly FakeButton[])[];
  readonly asksReply: boolean;
} {
  if (forceReplySchema.safeParse(given).success) return { buttons: [], asksReply: true };
  const asksReply = z.looseObject({ force_reply: z.literal(true) }).safeParse(given).success;
  return { buttons: checkKeyboard(given), asksReply };
}

/** Checks an inline keyboard; `undefined` means none was given. */
export function checkKeyboard(given: unknown): readonly (readonly FakeButton[])[] {
  if (given === undefined) return [];
  const parsed = markupSchema.safeParse(given);
  if (!parsed.success) throw badRequest('object expected as reply markup');
  for (const button of parsed.data.inline_keyboard.flat()) {
    if (button.text.trim() === '') throw badRequest("can't parse inline keyboard button: text must be non-empty");
    if (!button.text.isWellFormed()) throw badRequest('strings must be encoded in UTF-8');
    const actions = [button.callback_data, button.url, button.disabled].filter((action) => action !== undefined);
    if (actions.length === 0) {
      throw badRequest("can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard");
    }
    const bytes = Buffer.byteLength(button.callback_data ?? 'x');
    if (bytes < 1 || bytes > 64) throw badRequest('BUTTON_DATA_INVALID');
    if (button.url !== undefined && !URL.canParse(button.url)) {
      throw badRequest(`inline keyboard button URL '${button.url}' is invalid: Wrong HTTP URL`);
    }
    if (button.style !== undefined && !['danger', 'success', 'primary'].includes(button.style)) {
      throw badRequest("can't parse inline keyboard button: invalid button style specified");
    }
  }
  return parsed.data.inline_keyboard.filter((row) => row.length > 0) as FakeButton[][];
}
