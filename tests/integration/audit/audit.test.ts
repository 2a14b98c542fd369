import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { appendAudit } from '#core/audit/append-audit.ts';
import { readAudit } from '#core/audit/read-audit.ts';
import { verifyAudit } from '#core/audit/verify-audit.ts';
import { newId } from '#core/kit/ids.ts';
import { openTestDatabase, type TestDatabase } from '#tests/support/database.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await openTestDatabase(12);
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

const record = (sessionId: string, n: number) => ({
  kind: 'test.fact',
  chainKey: sessionId,
  sessionId,
  body: { n, cost: 12n, text: 'a\u0000b\ud800' },
});

test('records appended by many transactions at once form whole chains', async () => {
  const sessions = Array.from({ length: 20 }, newId);
  await Promise.all(
    Array.from({ length: 60 }, async (_, round) => {
      await database.db.transaction().execute(async (tx) => {
        await appendAudit(
          tx,
          [0, 1, 2].map((step) => record(sessions[(round * 7 + step * 5) % sessions.length] ?? '', round)),
        );
      });
    }),
  );
  expect(await verifyAudit(database.db)).toEqual({ records: 180, problems: [] });
});

test('hostile text is stored without NUL and lone surrogates, and a bigint as text', async () => {
  const sessionId = newId();
  await appendAudit(database.db, [record(sessionId, 1)]);
  const [stored] = await readAudit(database.db, sessionId);
  expect(stored?.body).toEqual({ kind: 'test.fact', sessionId, n: 1, cost: '12', text: 'ab\ufffd' });
});

test('what a rolled back transaction appended leaves no trace', async () => {
  const before = await verifyAudit(database.db);
  await expect(
    database.db.transaction().execute(async (tx) => {
      await appendAudit(tx, [record(newId(), 1)]);
      throw new Error('undone');
    }),
  ).rejects.toThrow('undone');
  expect(await verifyAudit(database.db)).toEqual(before);
});

test('records refuse to be changed or deleted', async () => {
  await expect(database.query('update audit_record set seq = seq + 1')).rejects.toThrow('append-only');
  await expect(database.query('delete from audit_record')).rejects.toThrow('append-only');
  await expect(database.query("update audit_body set body = '{}'")).rejects.toThrow('append-only');
});

test('tampering behind the triggers is found: a changed body, time or hash, a removed record, a cut end', async () => {
  const sessionId = newId();
  await appendAudit(
    database.db,
    Array.from({ length: 6 }, (_, n) => record(sessionId, n)),
  );
  const [place] = await database.query<{ chain: number; seq: number }>(
    "select chain, min(seq) as seq from audit_body where body ->> 'sessionId' = $1 group by chain",
    [sessionId],
  );
  const [chain, seq] = [place?.chain ?? -1, place?.seq ?? -1];
  const tryOut = async (statement: string) =>
    await database.db
      .transaction()
      .execute(async (tx) => {
        await sql`set local session_replication_role = replica`.execute(tx);
        await sql.raw(statement).execute(tx);
        const { rows } = await sql<{ problem: string }>`select * from audit_verify(100)`.execute(tx);
        throw new Error(`found ${rows.map((row) => row.problem).join(',')}`);
      })
      .catch((err: unknown) => (err instanceof Error ? err.message : ''));
  const here = `where chain = ${chain} and seq =`;
  expect(await tryOut(`update audit_body set body = '{"n":9}' ${here} ${seq}`)).toBe('found body');
  expect(await tryOut(`update audit_record set created_at = created_at + interval '1 s' ${here} ${seq}`)).toBe(
    'found hash',
  );
  // A forged hash breaks its own record and the one that builds on it.
  expect(await tryOut(`update audit_record set hash = sha256('x') ${here} ${seq + 1}`)).toBe('found hash,hash');
  expect(await tryOut(`delete from audit_record ${here} ${seq + 2}`)).toBe('found gap,hash');
  const last = `(select max(seq) from audit_record where chain = ${chain})`;
  expect(await tryOut(`delete from audit_record ${here} ${last}`)).toBe('found head');
});

test('a body deleted for privacy leaves the chain whole', async () => {
  const sessionId = newId();
  await appendAudit(database.db, [record(sessionId, 1), record(sessionId, 2)]);
  await database.query("delete from audit_body where body ->> 'sessionId' = $1", [sessionId]);
  expect((await verifyAudit(database.db)).problems).toEqual([]);
  expect(await readAudit(database.db, sessionId)).toEqual([]);
});
