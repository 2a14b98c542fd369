import { setTimeout as delay } from 'node:timers/promises';
import { it } from 'vitest';
import { LaneStage } from '#tests/support/lane-stage.ts';
import { newId } from '#core/kit/ids.ts';

it.each(['postgres', 'redis'] as const)('bell %s', async (kind) => {
  await using stage = await LaneStage.open(kind);
  const seen = new Map<string, number>();
  const stop = new AbortController();
  const c = stage.backend.wakes.consume(async (w) => { seen.set(w.sessionId, performance.now()); return undefined; }, { concurrency: 32, signal: stop.signal });
  const ring: number[] = []; const lat: number[] = [];
  for (let i = 0; i < 100; i++) {
    const id = newId(); const at = performance.now();
    await stage.backend.wakes.ring([{ sessionId: id, generation: 1 }]); ring.push(performance.now() - at);
    while (!seen.has(id)) await new Promise((r) => setImmediate(r));
    lat.push((seen.get(id) ?? 0) - at);
    await delay(15);
  }
  ring.sort((a, b) => a - b); lat.sort((a, b) => a - b);
  process.stderr.write(`${kind} ring p50 ${ring[50]?.toFixed(2)} handler p50 ${lat[50]?.toFixed(2)} p90 ${lat[90]?.toFixed(2)}\n`);
  stop.abort(); await c;
});
