import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const modules = path.resolve(import.meta.dirname, '../../../node_modules');

/** A server of the official package that keeps notes in the workspace, and tells what it can see of its surroundings. */
const program = `
import { appendFileSync, existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { McpServer } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { z } from 'zod';

const file = '/workspace/notes.txt';
const text = (value) => ({ content: [{ type: 'text', text: String(value) }] });
const attempt = (work) => { try { return work(); } catch (err) { return err.code ?? err.message; } };
serveStdio(() => {
  const server = new McpServer({ name: 'notes', version: '1.0.0' });
  server.registerTool('add_note', { description: 'Adds a line.', inputSchema: z.object({ line: z.string() }) },
    ({ line }) => { appendFileSync(file, line + '\\n'); return text('added'); });
  server.registerTool('read_notes', { description: 'Reads all lines.', inputSchema: z.object({}) },
    () => text(existsSync(file) ? readFileSync(file, 'utf8') : ''));
  server.registerTool('look_around', { description: 'Tells what it can see.', inputSchema: z.object({}) },
    async () => text(JSON.stringify({
      uid: process.getuid(),
      own: attempt(() => writeFileSync('/run/host/mcp/notes/evil.txt', 'x')),
      shadow: attempt(() => readFileSync('/etc/shadow', 'utf8')),
      docker: existsSync('/var/run/docker.sock'),
      secrets: Object.keys(process.env).filter((name) => /KEY|TOKEN|SECRET|DATABASE/.test(name)),
      network: await fetch('http://169.254.169.254/', { signal: AbortSignal.timeout(2000) }).then(() => 'reached', (err) => String(err.cause?.code ?? err.name)),
      folder: readdirSync('/run/host/mcp').filter((name) => !name.includes('.')),
    })));
  return server;
});
`;

/** A folder of a project with such a server and the packages it needs, as `files` of a server names it. */
export function writeServerFolder(folder: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, 'server.mjs'), program);
  writeFileSync(path.join(folder, 'package.json'), '{"type":"module"}');
  for (const name of ['@modelcontextprotocol/server', '@modelcontextprotocol/core', 'zod']) {
    cpSync(path.join(modules, name), path.join(folder, 'node_modules', name), {
      recursive: true,
      filter: (source) => !/\.(?:map|cjs|cts|d\.mts|d\.ts)$/.test(source),
    });
  }
}
