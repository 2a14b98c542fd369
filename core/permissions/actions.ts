/** How a resource of an action is written, normalised and matched. */
export type ResourceKind = 'command' | 'path' | 'host' | 'name';

interface ActionRow {
  readonly resource: ResourceKind;
  /** What the action does, for `agent check` and messages. */
  readonly title: string;
}

/**
 * The closed registry of everything a grant may speak of. A wildcard in a profile (`file.*`) expands against it when
 * the profile is loaded, so that an action added later is never granted by an old pattern's accident of spelling.
 */
export const actionTable = {
  'tool.exec': { resource: 'command', title: 'run a command' },
  'tool.python': { resource: 'name', title: 'run Python code' },
  'tool.job': { resource: 'name', title: 'look after background jobs' },
  'file.read': { resource: 'path', title: 'read a file' },
  'file.write': { resource: 'path', title: 'write a file' },
  'file.delete': { resource: 'path', title: 'delete a file' },
  'file.list': { resource: 'path', title: 'list files' },
  'file.search': { resource: 'path', title: 'search files' },
  'file.send': { resource: 'path', title: 'send a file to the thread' },
  'git.worktree': { resource: 'name', title: 'work on a task in a git worktree' },
  'git.merge': { resource: 'name', title: 'merge a task into its base branch, or undo that' },
  'image.generate': { resource: 'name', title: 'have a picture drawn' },
  'memory.read': { resource: 'name', title: 'look into memory' },
  'memory.write': { resource: 'name', title: 'remember something' },
  'session.list': { resource: 'name', title: 'list sessions' },
  'session.read': { resource: 'name', title: 'read a session' },
  'session.end': { resource: 'name', title: 'end a session' },
  'budget.read': { resource: 'name', title: 'read costs and budgets' },
  'budget.write': { resource: 'name', title: 'change a budget' },
  'skill.use': { resource: 'name', title: 'use a skill' },
  'message.send': { resource: 'name', title: 'send a message' },
  'person.ask': { resource: 'name', title: 'ask a person a question' },
  'topic.publish': { resource: 'name', title: 'publish on a topic' },
  'topic.subscribe': { resource: 'name', title: 'subscribe to a topic' },
  'blackboard.read': { resource: 'name', title: 'read the blackboard' },
  'blackboard.write': { resource: 'name', title: 'write on the blackboard' },
  'http.request': { resource: 'host', title: 'make a web request' },
  'browser.use': { resource: 'host', title: 'use a web page in the browser' },
  'web.search': { resource: 'name', title: 'search the web' },
  'mcp.call': { resource: 'name', title: 'call a tool of an MCP server' },
} as const satisfies Record<string, ActionRow>;

export type Action = keyof typeof actionTable;

/** Every action, in the order of the table. */
export const actionNames: readonly Action[] = Object.keys(actionTable).filter(isAction);

export function isAction(name: string): name is Action {
  return Object.hasOwn(actionTable, name);
}

/**
 * The actions a name or wildcard of a profile stands for: `file.read`, `file.*`, `*`. Empty when it names nothing.
 */
export function expandAction(pattern: string): readonly Action[] {
  if (pattern === '*' || pattern === '**') return actionNames;
  if (pattern.endsWith('.*')) return actionNames.filter((name) => name.startsWith(pattern.slice(0, -1)));
  return isAction(pattern) ? [pattern] : [];
}
