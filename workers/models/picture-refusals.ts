import type { Clock } from '#core/kit/clock.ts';
import { sha256 } from '#core/kit/ids.ts';
import type { ImagePart, ModelError, ModelMessage } from '#core/models/model-port.ts';
import type { ModelRef } from '#core/models/model-ref.ts';
import { hidePictures, picturesOf } from './hide-pictures.ts';

/** What is remembered is tried anew after this long: a server may get another model, a vendor another rule. */
const rememberedMs = 60 * 60_000;
/** Entries kept, the oldest go: a model, or one picture for one model. */
const rememberedMax = 2_000;

const refusedNote = '[There is a picture here that could not be shown to you. Say so if it matters.]';

/**
 * Which models take no pictures, and which pictures they refused, in the memory of one worker: each refusal costs a call,
 * and a conversation with a picture would otherwise be refused again in every round.
 */
export interface PictureRefusals {
  /** The messages without the pictures this model is known to refuse. */
  hideKnown(ref: ModelRef, messages: readonly ModelMessage[]): readonly ModelMessage[];
  /** The messages without any picture. */
  hideAll(messages: readonly ModelMessage[]): readonly ModelMessage[];
  /** Remembers a refusal that was one: the same messages were answered without pictures. */
  remember(ref: ModelRef, err: ModelError, messages: readonly ModelMessage[]): void;
}

export function createPictureRefusals({ clock }: { readonly clock: Clock }): PictureRefusals {
  const untilOf = new Map<string, number>();
  const isKnown = (key: string): boolean => (untilOf.get(key) ?? 0) > clock.now().getTime();
  const add = (key: string): void => {
    untilOf.delete(key);
    untilOf.set(key, clock.now().getTime() + rememberedMs);
    const [oldest] = untilOf.keys();
    if (untilOf.size > rememberedMax && oldest !== undefined) untilOf.delete(oldest);
  };
  return {
    hideKnown: (ref, messages) => {
      if (isKnown(modelKey(ref))) return hidePictures(messages, refusedNote);
      // Most models never refused one, and their pictures need not be hashed.
      const prefix = `${ref.text}\n`;
      if (![...untilOf.keys()].some((key) => key.startsWith(prefix))) return messages;
      return hidePictures(messages, refusedNote, (image) => isKnown(pictureKey(ref, image)));
    },
    hideAll: (messages) => hidePictures(messages, refusedNote),
    remember: (ref, err, messages) => {
      if (refusesAll(err)) add(modelKey(ref));
      else for (const image of picturesOf(messages)) add(pictureKey(ref, image));
    },
  };
}

/** Whether the model takes no pictures at all, as opposed to these: too large, too many, broken, not allowed. */
function refusesAll({ message }: ModelError): boolean {
  if (
    /image_url is only supported by certain models|no endpoints found that support image input|\bmmproj\b/i.test(
      message,
    )
  ) {
    return true;
  }
  if (
    /\bformats?\b|\btypes?\b|mime|webp|gif|\bsize\b|large|dimension|\bmany\b|corrupt|download|\burl\b/i.test(message)
  ) {
    return false;
  }
  return (
    /(?:does ?n[o']t|do ?n[o']t|cannot|can't|\bnot)\b.{0,40}\b(?:support|accept|have|take|allow)\w*.{0,60}(?:image|picture|vision|multi-?modal)/i.test(
      message,
    ) ||
    /(?:images?|pictures?|vision|multi-?modal)\b.{0,60}\bnot (?:a |yet )?(?:supported|enabled|available|accepted)|not an? (?:vision|multi-?modal)/i.test(
      message,
    )
  );
}

function modelKey(ref: ModelRef): string {
  return ref.text;
}

function pictureKey(ref: ModelRef, image: ImagePart): string {
  return `${ref.text}\n${sha256(image.dataBase64)}`;
}
