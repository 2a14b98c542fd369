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
