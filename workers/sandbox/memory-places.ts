import type { KnownPlace, SandboxPlaces } from '#core/sandboxes/sandbox-place.ts';

/** The places of a single process without a database: they are forgotten with it, workspaces of a pool included. */
export function createMemoryPlaces(): SandboxPlaces {
  const places = new Map<string, KnownPlace>();
  const owners = new Map<string, string>();
  const queues = new Map<string, Promise<unknown>>();
  return {
    find: async (sessionId) => places.get(sessionId),
    settle: async (place) => {
      const known = places.get(place.sessionId);
      if (known !== undefined) return known;
      places.set(place.sessionId, {
        ...place,
        placedAt: new Date(),
        endedAt: undefined,
        seenAt: undefined,
        usedMb: undefined,
      });
      return place;
    },
    list: async () => [...places.values()],
    remove: async (sessionId) => {
      places.delete(sessionId);
      owners.delete(sessionId);
    },
    take: async (sessionId, owner) => {
      owners.set(sessionId, owner);
      const known = places.get(sessionId);
      if (known !== undefined) places.set(sessionId, { ...known, seenAt: new Date() });
    },
    isOwner: async (sessionId, owner) => owners.get(sessionId) === owner,
    beat: async (owner) => {
      for (const [sessionId, place] of places) {
        if (owners.get(sessionId) === owner) places.set(sessionId, { ...place, seenAt: new Date() });
      }
    },
    noteUse: async (sessionId, usedMb) => {
      const known = places.get(sessionId);
      if (known !== undefined) places.set(sessionId, { ...known, usedMb });
    },
    exclusive: async (name, work) => {
      const result = (queues.get(name) ?? Promise.resolve()).then(work, work);
      queues.set(
        name,
        result.catch(() => undefined),
      );
      return await result;
    },
    note: async () => undefined,
  };
}
