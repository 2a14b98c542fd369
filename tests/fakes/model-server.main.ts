import { type ScriptedReply, startModelServer } from './model-server.ts';

/**
 * The fake model vendor as a process of its own: prints `{"port":…}` on one line and serves until it is stopped.
 * `--port=<n>` chooses the port, `--script=<json>` the list of replies; without one it answers "ok".
 */
function argument(name: string): string | undefined {
  return process.argv.find((text) => text.startsWith(`--${name}=`))?.slice(name.length + 3);
}

const script: readonly ScriptedReply[] = JSON.parse(argument('script') ?? '[{"text":"ok"}]');
const server = await startModelServer({ script, port: Number(argument('port') ?? 0), logMax: 1000 });
process.stdout.write(`${JSON.stringify({ port: server.port })}\n`);
process.once('SIGTERM', () => process.exit(0));
