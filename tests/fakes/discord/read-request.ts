import type { IncomingMessage } from 'node:http';
import { RestError } from './rest-error.ts';
import type { Upload } from './validate.ts';

/** @throws RestError 400 when the body is not what its content type says. */
export async function readRequest(
  request: IncomingMessage,
): Promise<{ readonly body: unknown; readonly files: readonly Upload[] }> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const bytes = Buffer.concat(chunks);
  const type = request.headers['content-type'] ?? '';
  if (bytes.length === 0) return { body: {}, files: [] };
  if (type.startsWith('application/json')) return { body: parseJson(bytes.toString('utf8')), files: [] };
  if (!type.startsWith('multipart/form-data'))
    throw new RestError(400, 50_109, 'The request body contains invalid JSON.');
  const form = await new Response(bytes, { headers: { 'content-type': type } }).formData();
  const files: Upload[] = [];
  let body: unknown = {};
  for (const [name, value] of form) {
    if (typeof value === 'string') {
      if (name === 'payload_json') body = parseJson(value);
    } else
      files.push({
        name: value.name,
        mime: value.type || 'application/octet-stream',
        bytes: Buffer.from(await value.arrayBuffer()),
      });
  }
  return { body, files };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new RestError(400, 50_109, 'The request body contains invalid JSON.');
  }
}
