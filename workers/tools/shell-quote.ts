/**
 * Turns names ended by NUL into lines, because output of commands carries no NUL. A line break in a name stands as 0x01
 * meanwhile; `namesOf` reads them.
 */
export const nulToLines = "tr '\\n\\0' '\\001\\n'";

/** The names of such output, and what stands behind the last line break: a name that was cut off, or no name at all. */
export function namesOf(output: string): { readonly names: readonly string[]; readonly rest: string } {
  const names = output.split('\n').map((name) => name.replaceAll('\u0001', '\n'));
  const rest = names.pop() ?? '';
  return { names, rest };
}

/** A text as one word of a shell command line. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/**
 * A file of the workspace as one word of a command that runs in `/workspace`. It never looks like an option, and an
 * absolute path elsewhere is taken from there, too, where it does not exist.
 */
export function workspaceWord(file: string): string {
  return quoted(`./${file.replace(/^\/workspace\/|^\.\//, '')}`);
}
