/** Files on their way into the next message. */

import { element } from './chat-document.js';
import { size } from './chat-message.js';
import { call } from './chat-server.js';

/** What is attached: `pending`, or with the id the server gave it. */
export const uploads = [];

/** Uploads files one by one; `complain` tells what could not be taken. */
export async function attach(files, { bytesMax, complain }) {
  for (const file of files) {
    const upload = { name: file.name || 'pasted', state: 'pending' };
    uploads.push(upload);
    showUploads();
    try {
      if (file.size > bytesMax)
        throw new Error(`${upload.name} has ${size(file.size)}; at most ${size(bytesMax)} can be attached.`);
      const answer = await call(`uploads?name=${encodeURIComponent(upload.name)}`, {
        method: 'POST',
        headers: { 'content-type': 'application/octet-stream' },
        body: file,
      });
      Object.assign(upload, answer, { state: 'done' });
    } catch (err) {
      uploads.splice(uploads.indexOf(upload), 1);
      complain(err.message);
    }
    showUploads();
  }
}

/** Shows what is attached above the composer. */
export function showUploads() {
  document.getElementById('files').replaceChildren(
    ...uploads.map((upload) => {
      const drop = () => {
        uploads.splice(uploads.indexOf(upload), 1);
        showUploads();
      };
      const state = upload.state === 'pending' ? ' uploading…' : ` ${size(upload.bytes)}`;
      return element(
        'li',
        {},
        `${upload.name}${state} `,
        element('button', { type: 'button', 'aria-label': `Remove ${upload.name}`, onclick: drop }, '✕'),
      );
    }),
  );
}
