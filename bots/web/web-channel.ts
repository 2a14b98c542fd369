import { loadFile } from '#core/files/load-file.ts';
import type { InboundFile } from '#core/inbox/inbound.ts';
import type { Db } from '#core/kit/database.ts';
import { AppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import type { ChannelCapabilities } from '#core/outbox/channel-sender.ts';
import { tokenBytesMax } from '../hosted/fit-body.ts';
import { HostedChannel } from '../hosted/hosted-channel.ts';
import { normaliseWeb, shownBody, type WebRaw } from './web-raw.ts';

/** Largest file a browser may attach. */
export const webFileBytesMax = 20 * 1024 * 1024;

const capabilities: ChannelCapabilities = {
  // As much as is rendered of one text; more is a file.
  textMax: 40_000,
  partsMax: 1,
  canEdit: true,
  canDelete: true,
  nativeStream: 'draft',
  editIntervalMs: 100,
  sendIntervalMs: 0,
  buttonTokenBytesMax: tokenBytesMax,
  threads: 'thread',
  modal: true,
  ephemeral: 'interaction',
  reactions: false,
  typingIntervalMs: 4_000,
  uploadBytesMax: 20 * 1024 * 1024,
  downloadBytesMax: webFileBytesMax,
  buttonsPerRowMax: 10,
  commands: 'text',
  tables: 'native',
  progress: 'edited-message',
  // Our own table: the outbox id is the key of the row.
  idempotentSend: 'nonce',
};

/** The browser as a chat platform; what a person does there comes in through the gateway's web routes. */
export class WebChannel extends HostedChannel<WebRaw> {
  readonly #db: Db;

  constructor(deps: { readonly db: Db; readonly log: Log }) {
    super(deps, {
      channel: 'web',
      capabilities,
      detail: 'browsers may connect',
      normalise: normaliseWeb,
      shown: shownBody,
    });
    this.#db = deps.db;
  }

  /** The bytes of an upload. @throws AppError `file.gone`. */
  async download(file: InboundFile, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const found = await loadFile(this.#db, file.fetchKey);
    signal.throwIfAborted();
    if (found === undefined) {
      throw new AppError('file.gone', 'The file is not kept any more.', { mend: 'Attach it again.' });
    }
    const { bytes } = found;
    return (async function* () {
      yield bytes;
    })();
  }
}
