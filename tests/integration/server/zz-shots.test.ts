import { spawn } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { it } from 'vitest';
import { newId } from '#core/kit/ids.ts';
import { openConsoleStage } from '#tests/support/console-stage.ts';

it('shots', async () => {
  await using stage = await openConsoleStage();
  const sessionId = newId();
  const q = stage.queue;
  for (let i = 0; i < 8; i += 1) await q.add('wake', { sessionId, generation: i + 1 }, { jobId: `${sessionId}~${i + 1}` });
  const t = (seq: number, state: string, more = {}) => ({ seq, id: newId(), state, mode: 'steer', kind: 'message', attempts: 1, createdAt: new Date(), startedAt: new Date(), finishedAt: new Date(Date.now() + 1234), ...more });
  stage.state.lane = { sessionId, threadKey: 'console:local:ada:-', agentName: 'assistant', state: 'parked', openTurns: 2, nextSeq: 6, fence: 3, generation: 9, owner: newId(),
    turns: [t(5, 'queued', { startedAt: undefined, finishedAt: undefined, attempts: 0 }), t(4, 'waiting', { waitingFor: 'approval', finishedAt: undefined }), t(3, 'failed', { errorCode: 'model.rate_limited' }), t(2, 'cancelled'), t(1, 'done')],
    events: [
      { seq: 9, kind: 'approval_requested', createdAt: new Date(), text: '{"callId":"call_1","approvalId":"0199aa","summary":"rm -rf build && npm run build -- --with a very long command line that goes on and on and on and on and on and on and on and on and on and on"}' },
      { seq: 8, kind: 'assistant_message', createdAt: new Date(), text: '{"parts":[{"type":"text","text":"Let me look <b>into</b> it."}]}' },
      { seq: 7, kind: 'user_message', createdAt: new Date(), text: '{"text":"clean up the build, please","author":"Ada"}' } ] };
  const login = await stage.request('/login', { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: new URLSearchParams({ token: stage.loginToken }).toString() });
  const cookie = (login.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
  const child = spawn('/usr/bin/chromium', ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--remote-debugging-port=0', `--user-data-dir=${mkdtempSync('/tmp/chrome-')}`, 'about:blank'], { stdio: ['ignore', 'ignore', 'pipe'] });
  const ws = await new Promise<string>((resolve) => { let e = ''; child.stderr.on('data', (d: Buffer) => { e += d.toString(); const m = /ws:\/\/\S+/.exec(e); if (m) resolve(m[0]); }); });
  const port = new URL(ws).port;
  const target = await (await fetch(`http://127.0.0.1:${port}/json/new?about:blank`, { method: 'PUT' })).json() as { webSocketDebuggerUrl: string };
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  await new Promise((r) => socket.addEventListener('open', r));
  let n = 0; const waits = new Map<number, (v: any) => void>();
  const logs: string[] = [];
  socket.addEventListener('message', (m) => { const d = JSON.parse(String(m.data)); if (d.id) waits.get(d.id)?.(d.result ?? d.error); else if (d.method === 'Log.entryAdded') logs.push(d.params.entry.text); });
  const cdp = (method: string, params: object = {}) => new Promise<any>((r) => { n += 1; waits.set(n, r); socket.send(JSON.stringify({ id: n, method, params })); });
  await cdp('Page.enable'); await cdp('Log.enable'); await cdp('Network.enable');
  const shot = async (name: string, path: string, width: number, dark = false) => {
    await cdp('Emulation.setDeviceMetricsOverride', { width, height: 900, deviceScaleFactor: 1, mobile: width < 500 });
    await cdp('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }] });
    await cdp('Page.navigate', { url: `${stage.server.url}${path}` });
    await delay(2500);
    const { data } = await cdp('Page.captureScreenshot', { format: 'png' });
    const { result } = await cdp('Runtime.evaluate', { expression: 'document.documentElement.scrollWidth + "/" + innerWidth' });
    console.log(name, result.value);
    writeFileSync(`/tmp/gshots/${name}.png`, Buffer.from(data, 'base64'));
  };
  await shot('login-wide', '/login', 1200); await shot('login-narrow', '/login', 380, true);
  const [name, value] = cookie.split(/=(.*)/s);
  await cdp('Network.setCookie', { name, value: decodeURIComponent(value ?? ''), url: stage.server.url });
  await shot('queues-wide', '/queues', 1200); await shot('queues-narrow', '/queues', 380);
  await shot('queue-jobs', `/queues/queue/${encodeURIComponent(q.name)}?status=waiting`, 1200);
  await shot('lane-wide', `/lanes/${sessionId}`, 1200); await shot('lane-narrow', `/lanes/${sessionId}`, 380, true);
  console.log(logs.join('\n'));
  socket.close(); child.kill();
}, 90_000);
