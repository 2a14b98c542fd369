import type { Db } from '#core/kit/database.ts';
import type { Log } from '#core/kit/log.ts';
import type { ChannelCapabilities } from '#core/outbox/channel-sender.ts';
import { tokenBytesMax } from '../hosted/fit-body.ts';
import { HostedChannel } from '../hosted/hosted-channel.ts';
import { type ConsoleRaw, normaliseConsole } from './console-raw.ts';

const capabilities: ChannelCapabilities = {
  // More is a file, which a terminal shows better than a flood.
  textMax: 100_000,
  partsMax: 1,
  canEdit: true,
  canDelete: true,
  nativeStream: 'draft',
  // Ten redraws a second read as continuous writing in a terminal.
  editIntervalMs: 100,
  sendIntervalMs: 0,
  buttonTokenBytesMax: tokenBytesMax,
  threads: 'thread',
  modal: false,
  ephemeral: 'interaction',
  reactions: false,
  typingIntervalMs: 4_000,
  uploadBytesMax: 10_000_000,
  downloadBytesMax: 0,
  buttonsPerRowMax: 10,
  commands: 'text',
  tables: 'native',
  progress: 'edited-message',
  // Our own table: the outbox id is the key of the row.
  idempotentSend: 'nonce',
};

/** The terminal as a chat platform; what a person writes comes in through the gateway's console API. */
export class ConsoleChannel extends HostedChannel<ConsoleRaw> {
  constructor(deps: { readonly db: Db; readonly log: Log }) {
    super(deps, {
      channel: 'console',
      capabilities,
      detail: 'terminals may connect',
      normalise: normaliseConsole,
      shown: (raw) => (raw.kind === 'message' ? { parts: [{ type: 'markdown', markdown: raw.text }] } : undefined),
    });
  }
}
