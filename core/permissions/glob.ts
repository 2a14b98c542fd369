type Node =
  | { readonly type: 'char'; readonly code: number }
  /** Any run of characters, without `/` unless `isDeep`. */
  | { readonly type: 'run'; readonly isDeep: boolean }
  /** Goes on either at the next node or `jump` nodes further. */
  | { readonly type: 'option'; readonly jump: number };

/** A compiled pattern. Matching takes at most text length times pattern length steps, whatever the pattern. */
export interface Glob {
  readonly source: string;
  matches(text: string): boolean;
  /** Whether some text that begins with `prefix` matches. */
  mayBegin(prefix: string): boolean;
}

const slash = '/'.charCodeAt(0);

/**
 * Compiles a path pattern: `*` is any run of characters within a segment, `**` any run across segments; a leading or
 * middle `**` with its slash and a final slash with `**` may also be nothing, so `src/**` covers `src` itself. Every
 * other character stands for itself. Not a RegExp: patterns and texts come from outside, and backtracking on them can
 * take for ever.
 */
export function compileGlob(source: string): Glob {
  return compile(source, parsePath(source));
}

/**
 * Compiles a command pattern: `*` and `**` are any run of characters, slashes included. A final ` *` may also be
 * nothing, so `git status *` covers `git status`.
 */
export function compileCommandGlob(source: string): Glob {
  const nodes: Node[] = [];
  const body = source.replace(/ \*+$/, '');
  for (const part of body.split(/(\*+)/)) {
    if (part.startsWith('*')) nodes.push({ type: 'run', isDeep: true });
    else pushLiteral(nodes, part);
  }
  if (body !== source) {
    nodes.push({ type: 'option', jump: 3 });
    pushLiteral(nodes, ' ');
    nodes.push({ type: 'run', isDeep: true });
  }
  return compile(source, nodes);
}

function parsePath(source: string): Node[] {
  const nodes: Node[] = [];
  for (const part of source.split(/(^\*\*\/|\/\*\*$|(?<=\/)\*\*\/|\*+)/)) {
    if (part === '**/') {
      nodes.push({ type: 'option', jump: 3 }, { type: 'run', isDeep: true }, { type: 'char', code: slash });
    } else if (part === '/**') {
      nodes.push({ type: 'option', jump: 3 }, { type: 'char', code: slash }, { type: 'run', isDeep: true });
    } else if (part.startsWith('*')) {
      nodes.push({ type: 'run', isDeep: part.length > 1 });
    } else {
      pushLiteral(nodes, part);
    }
  }
  return nodes;
}

function pushLiteral(nodes: Node[], text: string): void {
  for (let i = 0; i < text.length; i++) nodes.push({ type: 'char', code: text.charCodeAt(i) });
}

function compile(source: string, nodes: readonly Node[]): Glob {
  const firstSpecial = nodes.findIndex((node) => node.type !== 'char');
  if (firstSpecial === -1) {
    const literal = String.fromCharCode(...nodes.map((node) => (node.type === 'char' ? node.code : 0)));
    return { source, matches: (text) => text === literal, mayBegin: (text) => literal.startsWith(text) };
  }
  const prefix = String.fromCharCode(
    ...nodes.slice(0, firstSpecial).map((node) => (node.type === 'char' ? node.code : 0)),
  );
  const rest = nodes.slice(firstSpecial);
  const last = rest[0];
  if (rest.length === 1 && last?.type === 'run' && last.isDeep) {
    return { source, matches: (text) => text.startsWith(prefix), mayBegin: (text) => isOneTheStart(prefix, text) };
  }
  return {
    source,
    matches: (text) => text.startsWith(prefix) && simulate(rest, text, prefix.length)[rest.length] === 1,
    // Whatever node is alive, a text can be made that goes on from it.
    mayBegin: (text) =>
      text.length <= prefix.length
        ? prefix.startsWith(text)
        : text.startsWith(prefix) && simulate(rest, text, prefix.length).includes(1),
  };
}

function isOneTheStart(one: string, other: string): boolean {
  return one.startsWith(other) || other.startsWith(one);
}

/**
 * Runs all ways through the pattern side by side: one set of live nodes per character, so nothing is tried twice.
 * @returns which nodes are alive behind the text; the last is the pattern's end.
 */
function simulate(nodes: readonly Node[], text: string, from: number): Uint8Array {
  let live: Uint8Array = new Uint8Array(nodes.length + 1);
  enter(nodes, live, 0);
  for (let i = from; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const next = new Uint8Array(nodes.length + 1);
    let isAlive = false;
    for (let at = 0; at < nodes.length; at++) {
      if (live[at] !== 1) continue;
      const node = nodes[at];
      if (node?.type === 'char' && node.code === code) {
        enter(nodes, next, at + 1);
        isAlive = true;
      } else if (node?.type === 'run' && (node.isDeep || code !== slash)) {
        enter(nodes, next, at);
        isAlive = true;
      }
    }
    live = next;
    if (!isAlive) break;
  }
  return live;
}

/** Marks a node and everything reachable from it without a character. */
function enter(nodes: readonly Node[], live: Uint8Array, at: number): void {
  for (let to = at; to <= nodes.length; to++) {
    if (live[to] === 1) return;
    live[to] = 1;
    const node = nodes[to];
    if (node?.type === 'option') enter(nodes, live, to + node.jump);
    else if (node?.type !== 'run') return;
  }
}
