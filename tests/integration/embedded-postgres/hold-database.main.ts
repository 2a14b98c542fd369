/** A process that supervises a database until it is stopped; prints one line of JSON when it is ready or refused. */
import { pino } from 'pino';
import { openEmbeddedPostgres } from '#app/embedded-postgres/supervisor.ts';
import { toAppError } from '#core/kit/errors.ts';

const dataDir = process.argv[2] ?? '';
try {
  const database = await openEmbeddedPostgres({ dataDir, log: pino({ level: 'silent' }) });
  const { url, isReused, pid } = database;
  process.stdout.write(`${JSON.stringify({ url, isReused, pid })}\n`);
  const alive = setInterval(() => undefined, 1_000);
  process.once('SIGTERM', () => {
    clearInterval(alive);
    void database[Symbol.asyncDispose]();
  });
} catch (err) {
  const { code, message, mend } = toAppError(err);
  process.stdout.write(`${JSON.stringify({ code, message, mend })}\n`);
}
