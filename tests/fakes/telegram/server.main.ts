/**
 * The fake Bot API in its own process, for benchmarks and demonstrations: `node server.main.ts [port] [token] [rates]`;
 * with `rates` Telegram's rate limits are enforced.
 * Prints one JSON line with its address when it listens; requests below `/control/` drive it.
 */
import { control } from './control.ts';
import { FakeTelegram } from './fake-telegram.ts';

const [port = '0', token = '', rates] = process.argv.slice(2);
const fake = await FakeTelegram.start({
  port: Number(port),
  callsKept: 0,
  control,
  hasRates: rates === 'rates',
  ...(token === '' ? {} : { token }),
});
process.stdout.write(`${JSON.stringify({ apiRoot: fake.apiRoot, token: fake.token })}\n`);
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    fake[Symbol.asyncDispose]().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  });
}
