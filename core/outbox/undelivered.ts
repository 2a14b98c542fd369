import type { Db } from '../kit/database.ts';
import type { Undelivered } from './undelivered-message.ts';
import { markDismissed, markDueAgain, readUndelivered } from './undelivered-store.ts';

/** Everything an operator should know of, newest first. */
export async function listUndelivered(db: Db): Promise<readonly Undelivered[]> {
  return await readUndelivered(db);
}

/** Sends a message again although it may have arrived; only a person may ask for that. @returns false for no such message. */
export async function resendMessage(db: Db, id: string): Promise<boolean> {
  return isId(id) && (await markDueAgain(db, id));
}

/** Gives a message up for good and stops showing it. @returns false for no such message. */
export async function dropMessage(db: Db, id: string): Promise<boolean> {
  return isId(id) && (await markDismissed(db, id));
}

/** The database refuses what is no UUID with an error of its own. */
function isId(text: string): boolean {
  return /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);
}
