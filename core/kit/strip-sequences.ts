/**
 * Terminal sequences (ECMA-48): those with parameters, those that carry a string up to its end, those of two letters.
 * Each reads on over characters that begin none, so that any text takes one pass; Node's own pattern takes seconds for
 * many strings that do not end.
 */
const sequences =
  /(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x00-\x1f\x7f-\x9f]*(?:\x07|\x1b\\|\x9c)|\x1b[ -/]*[0-~]/g;

/** A text without terminal sequences, in time linear to its length. Other control characters stay. */
export function stripSequences(text: string): string {
  return text.replaceAll(sequences, '');
}
