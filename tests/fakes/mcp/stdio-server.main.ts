import { existsSync, readFileSync } from 'node:fs';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { toolServer, toolServerState } from './tool-server.ts';

// A server of the official package over pipes. The file named by FAKE_DESCRIPTION, when it exists, is what `echo` says of
// itself.
const file = process.env['FAKE_DESCRIPTION'];
const description = file !== undefined && existsSync(file) ? readFileSync(file, 'utf8') : undefined;
serveStdio(toolServer(toolServerState(description === undefined ? {} : { description })));
