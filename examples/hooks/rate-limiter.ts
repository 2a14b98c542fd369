import { block, defineHooks } from 'switchyard/hooks';

/** Calls of one tool that one session may make within a minute. */
const callsPerMinute: Readonly<Record<string, number>> = { exec: 20, web_fetch: 10, http_request: 10 };
const minuteMs = 60_000;

/** When the counted calls were made, by session and tool. */
const made = new Map<string, number[]>();
/**
 * What was said of a call. A call that waits for an approval comes by again in each pass, and must hear the same: counted
 * twice, it would be refused after a person has allowed it.
 */
const said = new Map<string, boolean>();

/** Refuses calls above a rate. Counts in this worker only, and from zero when it starts anew. */
export const hooks = defineHooks({
  name: 'rate-limiter',
  priority: 150,
  before_tool: ({ tool, session, turn, call }) => {
    const max = callsPerMinute[tool];
    if (max === undefined) return undefined;
    const reason = `${tool} was called ${max} times within a minute. Wait, or do more with one call.`;
    const id = `${turn} ${call}`;
    const before = said.get(id);
    if (before !== undefined) return before ? undefined : block(reason);

    const key = `${session} ${tool}`;
    const now = Date.now();
    const recent = (made.get(key) ?? []).filter((at) => now - at < minuteMs);
    const isAllowed = recent.length < max;
    if (isAllowed) recent.push(now);
    made.set(key, recent);
    said.set(id, isAllowed);
    forget(made);
    forget(said);
    return isAllowed ? undefined : block(reason);
  },
});

/** Maps keep the order of insertion: the oldest entries go. */
function forget(map: Map<string, unknown>): void {
  for (const key of map.keys()) {
    if (map.size <= 10_000) return;
    map.delete(key);
  }
}
