import { sql } from 'kysely';
import { z } from 'zod';
import type { Db } from '../kit/database.ts';

/** A row that stands for several events which are one message in pieces. */
const joinedSchema = z.object({ joinedRaws: z.array(z.unknown()).min(1) });

/** The raw events of a row: its own, or all that were joined into it. */
export function rawsOf(raw: unknown): readonly unknown[] {
  return joinedSchema.safeParse(raw).data?.joinedRaws ?? [raw];
}

/**
 * Puts the raw events of several pending rows into the first of them and ends the others, in one transaction: whatever
 * dies afterwards, the whole is routed once. Rows another process has routed or joined meanwhile are left out.
 * @returns undefined when none of the rows is pending any more.
 */
export async function joinEvents(
  db: Db,
  ids: readonly string[],
): Promise<{ readonly id: string; readonly raws: readonly unknown[] } | undefined> {
  return await db.transaction().execute(async (tx) => {
    const { rows } = await sql<{ id: string; raw: unknown }>`
      select id::text, raw from inbox where id = any(${[...ids]}::uuid[]) and state = 'pending' order by id for update
    `.execute(tx);
    const [first, ...others] = rows;
    if (first === undefined) return undefined;
    const raws = rows.flatMap(({ raw }) => rawsOf(raw));
    if (others.length > 0) {
      await sql`
        update inbox set raw = ${JSON.stringify({ joinedRaws: raws })}::jsonb where id = ${first.id}::uuid
      `.execute(tx);
      await sql`
        update inbox set state = 'ignored', routed_at = clock_timestamp()
        where id = any(${others.map(({ id }) => id)}::uuid[])
      `.execute(tx);
    }
    return { id: first.id, raws };
  });
}
