/** Keeps the end of a conversation in view. */

/** This near to the end counts as reading it. */
const nearPixels = 80;

/**
 * Whoever reads the end of `box` stays there when something is said, a picture arrives or the composer grows; whoever
 * reads above is left alone.
 */
export function stayAtEnd(box, parts) {
  let isAtEnd = true;
  let lastTop = 0;
  const follow = () => {
    if (isAtEnd) box.scrollTop = box.scrollHeight;
  };
  const observer = new ResizeObserver(follow);
  for (const part of [box, ...parts]) observer.observe(part);
  box.addEventListener('scroll', () => {
    const left = box.scrollHeight - box.scrollTop - box.clientHeight;
    if (left < nearPixels) isAtEnd = true;
    // Only a move upwards is the reader's: content that grew since the last move leaves a distance, too.
    else if (box.scrollTop < lastTop) isAtEnd = false;
    lastTop = box.scrollTop;
  });
  return {
    go() {
      isAtEnd = true;
      follow();
    },
    leave() {
      isAtEnd = false;
    },
  };
}
