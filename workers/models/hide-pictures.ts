import type { ImagePart, ModelMessage, Part } from '#core/models/model-port.ts';

/** What a model that cannot see reads in the place of a picture. */
const unseen = '[There is a picture here, and this model cannot see pictures.]';

/**
 * The messages for a model that takes no pictures, or not these. Those without any are handed on as they are.
 * @param isHidden which of them; all unless told.
 */
export function hidePictures(
  messages: readonly ModelMessage[],
  note = unseen,
  isHidden: (image: ImagePart) => boolean = () => true,
): readonly ModelMessage[] {
  return messages.map((message) =>
    message.parts.some(hasPicture)
      ? { ...message, parts: message.parts.map((part) => withoutPicture(part, note, isHidden)) }
      : message,
  );
}

/** Every picture of the messages. */
export function picturesOf(messages: readonly ModelMessage[]): readonly ImagePart[] {
  return messages.flatMap(({ parts }) =>
    parts.flatMap((part): readonly ImagePart[] => {
      if (part.type === 'image') return [part];
      return part.type === 'tool_result' ? (part.images ?? []) : [];
    }),
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

function withoutPicture(part: Part, note: string, isHidden: (image: ImagePart) => boolean): Part {
  if (part.type === 'image') return isHidden(part) ? { type: 'text', text: note } : part;
  if (part.type !== 'tool_result' || part.images === undefined) return part;
  const { images, ...rest } = part;
  const shown = images.filter((image) => !isHidden(image));
  if (shown.length === images.length && images.length > 0) return part;
  const text = images.length === 0 ? part.text : `${part.text}\n${note}`;
  return shown.length === 0 ? { ...rest, text } : { ...rest, text, images: shown };
}
