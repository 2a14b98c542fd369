/** What would ring for people in a text nobody meant to. The mark after it is invisible and breaks the pattern. */
const joiner = '\u2060';
const reference = /<(?=@([UWB][A-Z0-9]+)|!(?:here|channel|everyone|subteam|date)|#C[A-Z0-9])/g;
const everyone = /(?<![\w@])@(?=(?:here|channel|everyone)\b)/gi;

/**
 * Neutralises every mention in text of an agent, in code as well, but for the people in `allowed`. Agents repeat what
 * they read, and `<!channel>` in a web page must not wake a whole company.
 */
export function shieldMentions(text: string, allowed: readonly string[] = []): string {
  return text
    .replace(reference, (mark, user: unknown) =>
      typeof user === 'string' && allowed.includes(user) ? mark : mark + joiner,
    )
    .replace(everyone, `@${joiner}`);
}
