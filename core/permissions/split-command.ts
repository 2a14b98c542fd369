/** A shell command line taken apart into what it would run. */
export interface CommandParts {
  /**
   * Every simple command and every file redirection (`> path`) of the line, quotes kept, blanks collapsed; the
   * commands of subshells and substitutions are parts of their own.
   */
  readonly parts: readonly string[];
  /** The same simple commands without redirections and without the assignments before them. */
  readonly commands: readonly string[];
  /** False when the line uses something this reader does not follow; then `parts` is not all that would run. */
  readonly isSafe: boolean;
  /** True when what runs is only known while it runs: `$tool x`, `eval "$line"`, `… | sh`. */
  readonly isOpaque: boolean;
}

const depthMax = 16;
/** Longest line that is taken apart at all. */
const followedMax = 65_536;
/** Words that only introduce a command; what follows them is one. */
const keywords = new Set(['if', 'then', 'elif', 'else', 'while', 'until', 'do', 'time', '!', '{']);
const closers = new Set(['fi', 'done', '}']);
/** Constructs whose words are not commands in their place; a line with one is not followed. */
const unfollowed = new Set(['for', 'case', 'select', 'function', 'coproc', 'esac', 'in', '[[']);

/**
 * Reads a bash line conservatively. It follows `;` `&` `&&` `||` `|` newlines, quotes, `( )`, `{ }`, `if` and `while`,
 * `$( )`, backticks and redirections. Here-documents, arithmetic, `${ }` beyond a plain name, ANSI-C quotes, process
 * substitution, brace expansion of a command word, loops over words, functions and unbalanced quotes make it unsafe.
 */
export function splitCommand(line: string): CommandParts {
  if (line.length > followedMax) return { parts: [], commands: [], isSafe: false, isOpaque: false };
  const reader: Reader = { line, at: 0, parts: [], commands: [], isSafe: true, isOpaque: false, depth: 0 };
  readList(reader, undefined);
  return {
    parts: reader.parts,
    commands: reader.commands,
    isSafe: reader.isSafe && !reader.isOpaque,
    isOpaque: reader.isOpaque,
  };
}

interface Reader {
  readonly line: string;
  at: number;
  readonly parts: string[];
  readonly commands: string[];
  isSafe: boolean;
  isOpaque: boolean;
  depth: number;
}

/** Reads commands up to `end` (or the end of the line) and leaves `at` behind it. */
function readList(reader: Reader, end: ')' | '`' | undefined): void {
  if (++reader.depth > depthMax) {
    reader.isSafe = false;
    reader.at = reader.line.length;
  }
  let words: string[] = [];
  let word = '';
  let hasWord = false;
  let redirect: string | undefined;
  let hasRedirect = false;

  const endWord = (): void => {
    if (!hasWord) return;
    if (redirect !== undefined) {
      if (word !== '/dev/null' && !/^&?[0-9-]+$/.test(word)) reader.parts.push(`${redirect} ${word}`);
      redirect = undefined;
    } else if (words.length === 0 && keywords.has(word)) {
      // The command comes next. Behind a redirection, though, bash takes the word for a command's name.
      if (hasRedirect) reader.isSafe = false;
    } else {
      words.push(word);
    }
    word = '';
    hasWord = false;
  };
  const endCommand = (): void => {
    endWord();
    if (redirect !== undefined) reader.isSafe = false;
    redirect = undefined;
    hasRedirect = false;
    const first = words[0];
    if (first !== undefined) {
      if (unfollowed.has(first)) reader.isSafe = false;
      const command = words.slice(assignmentsOf(words));
      if (isOpaque(command)) reader.isOpaque = true;
      if (!(words.length === 1 && closers.has(first))) {
        reader.parts.push(words.join(' '));
        if (command.length > 0) reader.commands.push(command.join(' '));
      }
    }
    words = [];
  };
  const add = (text: string): void => {
    word += text;
    hasWord = true;
  };

  while (reader.at < reader.line.length) {
    const char = reader.line[reader.at] ?? '';
    const next = reader.line[reader.at + 1] ?? '';
    if (char === end) {
      endCommand();
      reader.at += 1;
      reader.depth -= 1;
      return;
    }
    if (char === '\\') {
      // A line continuation is nothing; any other escaped character stands for itself.
      if (next !== '\n') add(char + next);
      else checkContinuation(reader);
      if (next === '') reader.isSafe = false;
      reader.at += 2;
    } else if (char === "'") {
      const close = reader.line.indexOf("'", reader.at + 1);
      if (close === -1) {
        reader.isSafe = false;
        add(reader.line.slice(reader.at));
        reader.at = reader.line.length;
      } else {
        add(reader.line.slice(reader.at, close + 1));
        reader.at = close + 1;
      }
    } else if (char === '"') {
      add(readDoubleQuotes(reader));
    } else if (char === '$' || char === '`') {
      add(readExpansion(reader, false));
    } else if (char === '\n' || char === ';' || char === '|' || char === '&') {
      if (char === '&' && next === '>') {
        endWord();
        reader.at += reader.line[reader.at + 2] === '>' ? 3 : 2;
        redirect = '>';
        hasRedirect = true;
      } else {
        endCommand();
        reader.at += 1;
      }
    } else if (char === '#' && !hasWord) {
      const newline = reader.line.indexOf('\n', reader.at);
      reader.at = newline === -1 ? reader.line.length : newline;
    } else if (char === '(') {
      // A subshell where a command may begin; a function or an array anywhere else.
      if (hasWord || words.length > 0) reader.isSafe = false;
      endCommand();
      if (next === '(') reader.isSafe = false;
      reader.at += 1;
      readList(reader, ')');
    } else if (char === ')') {
      reader.isSafe = false;
      endCommand();
      reader.at += 1;
    } else if (char === '>' || char === '<') {
      if (/^[0-9]+$/.test(word)) {
        word = '';
        hasWord = false;
      }
      endWord();
      if (redirect !== undefined) reader.isSafe = false;
      readRedirect(reader);
      redirect = char;
      hasRedirect = true;
    } else if (char === ' ' || char === '\t') {
      endWord();
      reader.at += 1;
    } else {
      // Other blanks and control characters are read differently by different shells.
      if (char < ' ' || char === '\u00a0') reader.isSafe = false;
      add(char);
      reader.at += 1;
    }
  }
  endCommand();
  if (end !== undefined) reader.isSafe = false;
  reader.depth -= 1;
}

/** Bash joins lines before it reads them, so that `$` and `(` on two lines are one `$(`; behind a blank nothing joins. */
function checkContinuation(reader: Reader): void {
  const before = reader.line[reader.at - 1];
  if (before !== ' ' && before !== '\t') reader.isSafe = false;
}

/** Steps over the operator; the word after it is the file. Here-documents and process substitution are not followed. */
function readRedirect(reader: Reader): void {
  const operator = /^(?:>>|>\||>&|<<<|<<-?|<>|<&|[<>])/.exec(reader.line.slice(reader.at, reader.at + 3))?.[0] ?? '>';
  reader.at += operator.length;
  if (operator.startsWith('<<')) reader.isSafe = false;
  if (reader.line[reader.at] === '(') reader.isSafe = false;
}

function readDoubleQuotes(reader: Reader): string {
  let text = '"';
  reader.at += 1;
  while (reader.at < reader.line.length) {
    const char = reader.line[reader.at] ?? '';
    if (char === '"') {
      reader.at += 1;
      return `${text}"`;
    }
    if (char === '\\') {
      if (reader.line[reader.at + 1] === '\n') checkContinuation(reader);
      text += reader.line.slice(reader.at, reader.at + 2);
      reader.at += 2;
    } else if (char === '$' || char === '`') {
      text += readExpansion(reader, true);
    } else {
      text += char;
      reader.at += 1;
    }
  }
  reader.isSafe = false;
  return text;
}

/** How many assignments stand before the command. */
function assignmentsOf(words: readonly string[]): number {
  const at = words.findIndex((word) => !/^[A-Za-z_][A-Za-z0-9_]*\+?=/.test(word));
  return at === -1 ? words.length : at;
}

/** Whether the shell must first compute which command these words are. */
function isOpaque(words: readonly string[]): boolean {
  const [first = '', ...rest] = words;
  if (/[$`*?{]/.test(first) || (first.includes('[') && first !== '[')) return true;
  if (!shells.has(baseName(first))) return false;
  const inner = rest.filter((word) => !word.startsWith('-'));
  return inner.length === 0 || inner.some((word) => /[$`]/.test(word));
}

/** Reads `$name`, `${name}`, `$(…)` or backticks; the commands of a substitution become parts of their own. */
function readExpansion(reader: Reader, isQuoted: boolean): string {
  const from = reader.at;
  const rest = reader.line.slice(from, from + 3);
  if (rest.startsWith('`') || rest.startsWith('$(')) {
    if (rest === '$((') reader.isSafe = false;
    // Backslashes inside backticks are read twice by the shell, so what runs is not what is written.
    const isTick = rest.startsWith('`');
    reader.at += isTick ? 1 : 2;
    readList(reader, isTick ? '`' : ')');
    const text = reader.line.slice(from, reader.at);
    if (isTick && text.includes('\\')) reader.isSafe = false;
    return text;
  }
  if (rest.startsWith('${')) {
    const name = /^\$\{[A-Za-z0-9_?#@*]+\}/.exec(reader.line.slice(from, from + 80))?.[0];
    if (name === undefined) reader.isSafe = false;
    reader.at += name?.length ?? 2;
    return reader.line.slice(from, reader.at);
  }
  if (!isQuoted && /^\$['"]/.test(rest)) reader.isSafe = false;
  reader.at += 1;
  return '$';
}

/** Commands that run the command given to them; behind one, every word may begin it. */
const wrappers = new Set(
  (
    'sudo doas su env command builtin exec nohup nice ionice time timeout stdbuf setsid xargs parallel find watch ' +
    'script strace unshare chroot busybox ssh'
  ).split(' '),
);
const shells = new Set('sh bash dash zsh ksh ash eval'.split(' '));
/** Lines inside lines (`sh -c`, `eval`) that are read; more of them is not a command anybody wrote by hand. */
const nestedMax = 20;
/** Longest line that is read in full; matching one costs up to its length squared. */
const lengthMax = 8192;

/**
 * Every other way to read the same line, for patterns that forbid or hold back: quotes and backslashes taken away, each
 * command without its folder, without assignments before it and without wrappers such as `env` or `timeout 5`, and the
 * line given to `sh -c` or `eval`. For a line that was not followed also every tail that begins at a word.
 * @returns undefined for a line too long or too deep to say; such a line counts as touched by every pattern.
 */
export function spellings(line: string, command: CommandParts): readonly string[] | undefined {
  const texts: string[] = [];
  const waiting: { readonly line: string; readonly command: CommandParts }[] = [{ line, command }];
  for (let read = 0; read < waiting.length; read++) {
    const next = waiting[read];
    if (next === undefined || next.line.length > lengthMax || read > nestedMax) return undefined;
    texts.push(collapse(next.line), ...next.command.parts);
    for (const command of next.command.commands) {
      for (const inner of readCommand(command, texts)) waiting.push({ line: inner, command: splitCommand(inner) });
    }
    if (!next.command.isSafe) pushTails(next.line, texts);
  }
  return texts;
}

/** Adds the readings of one simple command; returns the lines it hands to a shell. */
function readCommand(command: string, texts: string[]): string[] {
  const nested: string[] = [];
  let isBehindWrapper = false;
  for (const [word, tail] of wordsWithTails(plain(command))) {
    pushCommand(word, tail, texts);
    const name = baseName(word);
    if (shells.has(name) && nested.length <= nestedMax) {
      nested.push(tail.slice(word.length).replace(/^(?: -[a-z]+)*/, ''));
    }
    isBehindWrapper ||= wrappers.has(name);
    if (!isBehindWrapper && !/^[A-Za-z_][A-Za-z0-9_]*=/.test(word)) break;
  }
  return nested.filter((inner) => inner.trim() !== '');
}

/** Separators, expansions and assignments become blanks, so that a command hidden behind one begins a word. */
function pushTails(line: string, texts: string[]): void {
  const blanked = line.replaceAll(/\$\{[^}]*\}|\$[A-Za-z_][A-Za-z0-9_]*|[;&|()`{},=$\n<>]/g, ' ');
  for (const [word, tail] of wordsWithTails(plain(blanked))) pushCommand(word, tail, texts);
}

function pushCommand(word: string, tail: string, texts: string[]): void {
  texts.push(tail);
  const name = baseName(word);
  if (name !== word) texts.push(tail.slice(word.length - name.length));
}

/** Every word of a text with all that follows it; slices share the text, so this is cheap for long lines too. */
function* wordsWithTails(text: string): Generator<[word: string, tail: string]> {
  for (let at = 0; at < text.length; ) {
    const blank = text.indexOf(' ', at);
    const end = blank === -1 ? text.length : blank;
    yield [text.slice(at, end), text.slice(at)];
    at = end + 1;
  }
}

function plain(text: string): string {
  return collapse(text.replaceAll('\\\n', '').replaceAll(/['"\\]/g, ''));
}

function collapse(text: string): string {
  return text.replaceAll(/[ \t\r\n]+/g, ' ').trim();
}

function baseName(word: string): string {
  return word.slice(word.lastIndexOf('/') + 1);
}
