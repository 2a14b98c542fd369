/** A typed argument of a command, where the platform can show one. */
interface CommandArgument {
  readonly name: string;
  readonly description: string;
  readonly isRequired?: boolean;
  /** The only values there are. */
  readonly choices?: readonly string[];
  /** Where suggestions for what is being typed come from. */
  readonly suggest?: 'agents' | 'workflows' | 'approvals';
}

/** A slash command as people see it in help and in the platform's menu. */
export interface CommandHelp {
  readonly name: string;
  readonly usage: string;
  readonly description: string;
  /** In the order in which they stand in the text of a command; absent for one without any. */
  readonly options?: readonly CommandArgument[];
}

/** Every chat command, in the order help shows them. */
export const commandList: readonly CommandHelp[] = [
  { name: 'help', usage: '/help', description: 'What I can do' },
  { name: 'new', usage: '/new', description: 'Start a new conversation' },
  { name: 'stop', usage: '/stop', description: 'Stop what is running here' },
  { name: 'status', usage: '/status', description: 'What is running and waiting here' },
  {
    name: 'run',
    usage: '/run <task>',
    description: 'Work on a longer task',
    options: [{ name: 'task', description: 'What to work on', isRequired: true }],
  },
  { name: 'agents', usage: '/agents', description: 'Who can work here' },
  {
    name: 'use',
    usage: '/use <agent> [all]',
    description: 'Choose who answers you in this thread',
    options: [
      { name: 'agent', description: 'Its name', isRequired: true, suggest: 'agents' },
      { name: 'for', description: 'all: for everyone in this thread', choices: ['all'] },
    ],
  },
  {
    name: 'queue',
    usage: '/queue [steer|followup|collect|interrupt]',
    description: 'What a message does while I work',
    options: [
      {
        name: 'mode',
        description: 'Without one, the modes and what they do',
        choices: ['steer', 'followup', 'collect', 'interrupt'],
      },
    ],
  },
  { name: 'approvals', usage: '/approvals', description: 'What waits for a decision' },
  {
    name: 'approve',
    usage: '/approve <id>… | all',
    description: 'Approve waiting actions',
    options: [{ name: 'id', description: 'Which one; /approvals shows them', suggest: 'approvals' }],
  },
  {
    name: 'deny',
    usage: '/deny <id>… | all [reason]',
    description: 'Deny waiting actions',
    options: [
      { name: 'id', description: 'Which one; /approvals shows them', suggest: 'approvals' },
      { name: 'reason', description: 'What to do instead; the agent reads it' },
    ],
  },
  {
    name: 'announce',
    usage: '/announce [to:rooms,@name] <text>',
    description: 'Say something everywhere at once',
    options: [{ name: 'text', description: 'What to say', isRequired: true }],
  },
  { name: 'grants', usage: '/grants', description: 'What was allowed for good' },
  {
    name: 'revoke',
    usage: '/revoke <id>',
    description: 'Take such a permission back',
    options: [{ name: 'id', description: 'Which one; /grants shows them', isRequired: true }],
  },
  {
    name: 'costs',
    usage: '/costs [today|week|month]',
    description: 'What the work has cost',
    options: [{ name: 'period', description: 'Since when', choices: ['today', 'week', 'month'] }],
  },
  {
    name: 'secret',
    usage: '/secret [set|remove <name>]',
    description: 'Keys that agents use and nobody reads',
    options: [
      { name: 'what', description: 'Without one, what there is', choices: ['list', 'set', 'remove'] },
      { name: 'name', description: 'Its name; never write the value here' },
      { name: 'scope', description: 'agent:name host:api.example.org' },
    ],
  },
  { name: 'skills', usage: '/skills', description: 'Which skills the agent here has' },
  {
    name: 'skill',
    usage: '/skill add <source> | rm <name>',
    description: 'Let a skill in, or delete one',
    options: [
      { name: 'what', description: 'What to do', isRequired: true, choices: ['add', 'rm'] },
      { name: 'which', description: 'An https:// address, a path in the project, or a name', isRequired: true },
      { name: 'scope', description: 'agent:name for one agent alone' },
    ],
  },
  { name: 'resend', usage: '/resend', description: 'Send again what may have been lost' },
  {
    name: 'continue',
    usage: '/continue [code|number]',
    description: 'Go on with a conversation in another place',
    options: [{ name: 'which', description: 'A code or a number; without one, what there is' }],
  },
  {
    name: 'link',
    usage: '/link [code]',
    description: 'Make your accounts on several platforms one person',
    options: [{ name: 'code', description: 'Of the other account; without one you get a code' }],
  },
  { name: 'unlink', usage: '/unlink', description: 'Separate this account from your others' },
  {
    name: 'pair',
    usage: '/pair [member|admin|list|revoke]',
    description: 'A code that lets someone else in',
    options: [
      { name: 'what', description: 'What they become, or what to do', choices: ['member', 'admin', 'list', 'revoke'] },
      { name: 'id', description: 'Which code to revoke; without one, all' },
    ],
  },
  { name: 'people', usage: '/people', description: 'Who I work for' },
  {
    name: 'allow',
    usage: '/allow <who>',
    description: 'Let someone in who asked',
    options: [{ name: 'who', description: 'Their name or id; /people shows them', isRequired: true }],
  },
  {
    name: 'remove',
    usage: '/remove <who>',
    description: 'Stop working for someone',
    options: [{ name: 'who', description: 'Their name or id; /people shows them', isRequired: true }],
  },
  {
    name: 'role',
    usage: '/role <who> <owner|admin|member>',
    description: 'Change what someone may do',
    options: [
      { name: 'who', description: 'Their name or id; /people shows them', isRequired: true },
      { name: 'role', description: 'What they become', isRequired: true, choices: ['owner', 'admin', 'member'] },
    ],
  },
];

/** The help text: commands with what they do, and how to reach an agent. */
export function helpText(agentName: string): string {
  const lines = commandList.map((command) => `- \`${command.usage}\` ${command.description}`);
  return [
    `Write to me and **${agentName}** gets to work. Start a message with \`@name\` to ask another agent.`,
    '',
    ...lines,
  ].join('\n');
}
