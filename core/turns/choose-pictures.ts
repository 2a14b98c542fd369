/** Most pictures one request shows. */
const shownMax = 8;
/**
 * How many are let go at once. A picture that goes changes the prompt from there on, and the vendor's cache with it; in
 * steps that happens once in a while and not with every new picture.
 */
const stepCount = 4;

/**
 * Which of a conversation's pictures a model is shown: the newest five to eight.
 * @param ids oldest first.
 */
export function choosePictures(ids: readonly string[]): readonly string[] {
  const distinct = [...new Set(ids.toReversed())].reverse();
  const gone = Math.max(0, Math.ceil((distinct.length - shownMax) / stepCount) * stepCount);
  return distinct.slice(gone);
}
