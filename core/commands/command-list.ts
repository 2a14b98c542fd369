/** A slash command as people see it in help and in the platform's menu. */
export interface CommandHelp {
  readonly name: string;
  readonly usage: string;
  readonly description: string;
}

/** Every chat command, in the order help shows them. */
export const commandList: readonly CommandHelp[] = [
  { name: 'help', usage: '/help', description: 'What I can do' },
  { name: 'new', usage: '/new', description: 'Start a new conversation' },
  { name: 'stop', usage: '/stop', description: 'Stop what is running here' },
  { name: 'status', usage: '/status', description: 'What is running and waiting here' },
  { name: 'run', usage: '/run <task>', description: 'Work on a longer task' },
  { name: 'agents', usage: '/agents', description: 'Who can work here' },
  { name: 'use', usage: '/use <agent>', description: 'Choose the agent of this thread' },
  {
    name: 'queue',
    usage: '/queue [steer|followup|collect|interrupt]',
    description: 'What a message does while I work',
  },
  { name: 'approvals', usage: '/approvals', description: 'What waits for a decision' },
  { name: 'approve', usage: '/approve <id>', description: 'Approve a waiting action' },
  { name: 'deny', usage: '/deny <id> [reason]', description: 'Deny a waiting action' },
  { name: 'grants', usage: '/grants', description: 'What was allowed for good' },
  { name: 'revoke', usage: '/revoke <id>', description: 'Take such a permission back' },
  { name: 'costs', usage: '/costs [today|week|month]', description: 'What the work has cost' },
  { name: 'resend', usage: '/resend', description: 'Send again what may have been lost' },
  { name: 'pair', usage: '/pair [member|admin]', description: 'A code that lets someone else in' },
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
