/** Invisible, of no width, and no letter: what it stands in is no mention on any platform. */
const joiner = '\u2060';
/** References as platforms write them: a person, a role, a channel, everybody, a date. */
const reference = /<(?=@[!&]?[A-Z0-9]+|![a-z]+|#[A-Z0-9])/gi;
const referenced = /^<@!?([A-Z0-9]+)>/i;
const anyName = /(?<![\w@])@(?=\w)/g;

/**
 * Takes the power to ring from every mention in text of an agent: `@everyone`, `@name`, `<!channel>`, `<@U1>`, `<@&role>`.
 * Agents repeat what they read, and a web page must not wake a whole company. Readers see the same words.
 *
 * @param allowed ids of people that may be mentioned as `<@id>`.
 */
export function neutralise(text: string, allowed: readonly string[] = []): string {
  return text
    .replace(reference, (mark, offset: number) => {
      const id = referenced.exec(text.slice(offset, offset + 40))?.[1];
      return id !== undefined && allowed.includes(id) ? mark : mark + joiner;
    })
    .replace(anyName, (mark, offset: number, whole: string) => (isReference(whole, offset) ? mark : mark + joiner));
}

/** Whether the `@` belongs to a reference, which was seen to already. */
function isReference(text: string, at: number): boolean {
  return text[at - 1] === '<' || (text[at - 1] === joiner && text[at - 2] === '<');
}
