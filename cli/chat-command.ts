import { userInfo } from 'node:os';
import path from 'node:path';
import type { Command } from 'commander';
import { AppError } from '#core/kit/errors.ts';
import type { CliDeps } from './cli-deps.ts';
import { ExitCode } from './exit-code.ts';

interface ChatFlags {
  readonly message?: string;
  readonly json?: boolean;
  readonly approve?: boolean;
  readonly deny?: boolean;
  readonly room?: string;
  readonly agent?: string;
}

/** The terminal chat, as a dialogue or as one question in a script. */
export function addChat(program: Command, deps: CliDeps): void {
  program
    .command('chat')
    .description('chat with an agent in this terminal')
    .option('-m, --message <text>', 'ask once, print the answer and end (text on standard input does the same)')
    .option('--json', 'print events as JSON lines')
    .option('--approve', 'with --message: approve what is asked')
    .option('--deny', 'with --message: deny what is asked')
    .option('--room <name>', 'a conversation of its own, by name')
    .option('--agent <name>', 'ask this agent')
    .action(async (flags: ChatFlags) => {
      if (flags.approve === true && flags.deny === true) {
        throw new AppError('command.invalid', 'Both --approve and --deny are given.', { mend: 'Give one of them.' });
      }
      const { runChat } = await import('./chat.ts');
      const gateway = deps.findGateway();
      const user = userInfo().username;
      const answer = flags.approve === true ? 'approve' : flags.deny === true ? 'deny' : undefined;
      const code = await runChat({
        baseUrl: gateway.url,
        token: gateway.token,
        room: flags.room ?? user,
        user,
        agent: flags.agent,
        message: flags.message,
        isJson: flags.json === true,
        answer,
        historyFile: path.join(gateway.dataDir, 'chat-history'),
        stdin: process.stdin,
        stdout: process.stdout,
        stderr: process.stderr,
        signal: deps.signal,
      });
      if (code !== 0) throw new ExitCode(code);
    });
}
