/**
 * The fake Discord in its own process, at the platform's real rates, for benchmarks and demonstrations:
 * `node server.main.ts [port]`. Prints one JSON line with its address when it listens; requests below `/control/` drive
 * it.
 */
import { control } from './control.ts';
import { FakeDiscord } from './fake-discord.ts';

const [port = '0'] = process.argv.slice(2);
const fake = await FakeDiscord.start({ port: Number(port), callsKept: 0, realRates: true, control });
process.stdout.write(`${JSON.stringify({ apiUrl: fake.apiUrl, token: fake.token })}\n`);
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    fake[Symbol.asyncDispose]().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  });
}
