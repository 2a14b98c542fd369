import { setTimeout as delay } from 'node:timers/promises';
import { expect, it, vi } from 'vitest';
import { turnAcceptor } from '#core/lanes/accept-turns.ts';
import { doneWithEffect, LaneStage } from '#tests/support/lane-stage.ts';
import { addSessions, newTurn } from '#tests/support/lanes.ts';

it.each(['postgres', 'redis'] as const)('bench %s', async (kind) => {
  await using stage = await LaneStage.open(kind);
  const sessions = await addSessions(stage.database, 200);
  const started = new Map<string, number>();
  await stage.work({ slots: 32, runTurn: async (turn) => { started.set(turn.id, performance.now()); return doneWithEffect(turn); } });
  const accept = turnAcceptor({ db: stage.database.db, wakes: stage.backend.wakes });
  const lat: number[] = []; const acc: number[] = [];
  for (let i = 0; i < 100; i++) {
    const t = newTurn(sessions[i % 200] ?? '');
    const at = performance.now();
    await accept(t); acc.push(performance.now() - at);
    while (!started.has(t.turnId)) await new Promise((r) => setImmediate(r));
    lat.push((started.get(t.turnId) ?? 0) - at);
    await delay(15);
  }
  lat.sort((a, b) => a - b); acc.sort((a, b) => a - b);
  const t0 = performance.now();
  const all = [];
  for (let r = 0; r < 10; r++) for (const s of sessions) all.push(accept(newTurn(s)));
  await Promise.all(all);
  const t1 = performance.now();
  await vi.waitFor(async () => expect(await stage.openTurns()).toBe(0), { timeout: 50000, interval: 10 });
  const t2 = performance.now();
  process.stderr.write(`${kind} quiet accept p50 ${acc[50]?.toFixed(2)} start p50 ${lat[50]?.toFixed(2)} p99 ${lat[98]?.toFixed(2)}; 2000 turns accept ${(2000 / (t1 - t0) * 1000).toFixed(0)}/s all ${(2000 / (t2 - t0) * 1000).toFixed(0)}/s\n`);
});
