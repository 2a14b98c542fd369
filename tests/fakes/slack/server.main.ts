/**
 * The fake Slack in its own process, for benchmarks and demonstrations: `node server.main.ts [port] [rates]`; with
 * `rates` Slack's rate limits are enforced. Prints one JSON line with its address and tokens when it listens; requests
 * below `/control/` drive it.
 */
import { control } from './control.ts';
import { FakeSlack } from './fake-slack.ts';

const [port = '0', rates] = process.argv.slice(2);
const fake = await FakeSlack.start({
  port: Number(port),
  callsKept: 0,
  control,
  limits: { hasRates: rates === 'rates' },
});
process.stdout.write(
  `${JSON.stringify({
    apiUrl: fake.apiUrl,
    botToken: fake.botToken,
    appToken: fake.appToken,
    signingSecret: fake.signingSecret,
  })}\n`,
);
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    fake[Symbol.asyncDispose]().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  });
}
