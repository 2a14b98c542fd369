import type { Db } from '../kit/database.ts';
import { AppError } from '../kit/errors.ts';
import type { Session } from './session.ts';
import { findSessionsBetween } from './session-store.ts';

const first = '00000000-0000-0000-0000-000000000000';
const last = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

/**
 * The session of an id, or of the beginning of an id that only one session has.
 * @throws AppError `command.invalid` when there is none, or more than one.
 */
export async function requireSession(db: Db, beginning: string): Promise<Session> {
  const text = beginning.toLowerCase();
  const from = text + first.slice(text.length);
  const isId = text !== '' && /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(from);
  const found = isId ? await findSessionsBetween(db, from, text + last.slice(text.length), 2) : [];
  const [session, ...others] = found;
  if (session !== undefined && others.length === 0) return session;
  const shown = beginning.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 60);
  throw new AppError(
    'command.invalid',
    session === undefined ? `There is no session ${shown}.` : `Several sessions begin with ${shown}.`,
    { mend: session === undefined ? 'See ./switchyard session list.' : 'Write more of the id.' },
  );
}
