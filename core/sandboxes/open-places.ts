import type { Db } from '../kit/database.ts';
import {
  deletePlace,
  insertEvent,
  insertPlace,
  lockName,
  selectOwner,
  selectPlace,
  selectPlaces,
  touchOwned,
  updateOwner,
  updateUse,
} from './place-store.ts';
import type { SandboxPlaces } from './sandbox-place.ts';

/** Events kept of one session; older ones say little about what is wrong now. */
const eventsMax = 200;
const eventDaysMax = 30;

/** The places of an installation, agreed on in its database. */
export function openPlaces(deps: { readonly db: Db }): SandboxPlaces {
  const { db } = deps;
  // Waiting for the database's lock takes a connection; one of a process waits there, the others here.
  const queues = new Map<string, Promise<unknown>>();
  return {
    find: async (sessionId) => await selectPlace(db, sessionId),
    settle: async (place) => await insertPlace(db, place),
    list: async () => await selectPlaces(db),
    remove: async (sessionId) => await deletePlace(db, sessionId),
    take: async (sessionId, owner) => await updateOwner(db, sessionId, owner),
    isOwner: async (sessionId, owner) => (await selectOwner(db, sessionId)) === owner,
    beat: async (owner) => await touchOwned(db, owner),
    noteUse: async (sessionId, usedMb) => await updateUse(db, sessionId, Math.round(usedMb)),
    exclusive: async (name, work) => {
      const run = async () =>
        await db.transaction().execute(async (tx) => {
          await lockName(tx, name);
          return await work();
        });
      const mine = (queues.get(name) ?? Promise.resolve()).then(run, run);
      const settled = mine.catch(() => undefined);
      queues.set(name, settled);
      try {
        return await mine;
      } finally {
        if (queues.get(name) === settled) queues.delete(name);
      }
    },
    note: async (event) => await insertEvent(db, event, eventsMax, eventDaysMax),
  };
}
