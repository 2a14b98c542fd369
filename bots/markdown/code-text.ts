/** The text of a code block as platforms take it: they refuse an empty one. */
export function codeText(text: string): string {
  const content = text.replace(/^\n+/, '').trimEnd();
  return content === '' ? '(empty)' : content;
}
