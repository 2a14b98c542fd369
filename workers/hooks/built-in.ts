/** The hooks that come with the product, and when they run. */
const priorities = {
  'dangerous-commands': 10,
  'skill-limits': 20,
  directives: 500,
  'skill-catalogue': 600,
  'repo-context': 700,
  'output-truncation': 800,
  'session-recovery': 900,
  notification: 910,
  'trajectory-log': 990,
  'tool-log': 1000,
} as const;

export type BuiltInHook = keyof typeof priorities;

/** Their names, in the order they run. */
export const builtInNames: readonly string[] = Object.keys(priorities);

/** What every built-in hook begins with. */
export function builtIn(name: BuiltInHook) {
  return { name, priority: priorities[name], source: 'built in' };
}

/** All of them as they are shown. */
export function listBuiltIn(): readonly {
  readonly name: string;
  readonly priority: number;
  readonly source: string;
}[] {
  return Object.entries(priorities).map(([name, priority]) => ({ name, priority, source: 'built in' }));
}
