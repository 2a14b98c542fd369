import type { ImagePart, ModelMessage, Part } from '#core/models/model-port.ts';

/** What a model that cannot see reads in the place of a picture. */
const unseen = '[There is a picture here, and this model cannot see pictures.]';

/** The messages for a model that takes no pictures, or not these. Those without any are handed on as they are. */
export function hidePictures(messages: readonly ModelMessage[], note = unseen): readonly ModelMessage[] {
  return messages.map((message) =>
    message.parts.some(hasPicture)
      ? { ...message, parts: message.parts.map((part) => withoutPicture(part, note)) }
      : message,
  );
}

export function havePictures(messages: readonly ModelMessage[]): boolean {
  return messages.some((message) => message.parts.some(hasPicture));
}

/** A picture as a data URL, as OpenAI's protocols take it. */
export function pictureUrl(image: ImagePart): string {
  return `data:${image.mime};base64,${image.dataBase64}`;
}

function hasPicture(part: Part): boolean {
  return part.type === 'image' || (part.type === 'tool_result' && part.images !== undefined);
}

function withoutPicture(part: Part, note: string): Part {
  if (part.type === 'image') return { type: 'text', text: note };
  if (part.type !== 'tool_result' || part.images === undefined) return part;
  const { images, ...rest } = part;
  return images.length === 0 ? rest : { ...rest, text: `${part.text}\n${note}` };
}
