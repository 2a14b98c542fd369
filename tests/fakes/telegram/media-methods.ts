import { z } from 'zod';
import { BotApiError, badRequest } from './bot-api-error.ts';
import type { BotState } from './bot-state.ts';
import { applyEdit, openChat, ownMessage, postMessage } from './chat-access.ts';
import type { BotRequest, Upload } from './read-request.ts';
import { checkEntities, checkKeyboard, checkText } from './validate.ts';
import type { FakeFile } from './world.ts';

const uploadBytesMax = 50 * 1024 * 1024;
const photoBytesMax = 10 * 1024 * 1024;
const downloadBytesMax = 20 * 1024 * 1024;
const captionMax = 1_024;

const mediaSchema = z.looseObject({
  type: z.enum(['photo', 'document']),
  media: z.string(),
  caption: z.string().optional(),
  caption_entities: z.unknown().optional(),
});

/** Methods around files. */
export const mediaMethods = {
  sendDocument: (state: BotState, request: BotRequest) => sendFile(state, request, 'document'),
  sendPhoto: (state: BotState, request: BotRequest) => sendFile(state, request, 'photo'),
  sendMediaGroup: (state: BotState, request: BotRequest) => {
    const { params } = request;
    const chat = openChat(state, params);
    const media = z.array(mediaSchema).safeParse(params['media']);
    if (!media.success) throw badRequest("can't parse media JSON object");
    if (media.data.length < 2 || media.data.length > 10) {
      throw badRequest('message must include 2-10 items to be sent as an album');
    }
    if (params['reply_markup'] !== undefined) throw badRequest('reply markup is not allowed in albums');
    const items = media.data.map((item) => ({
      ...captionOf(item.caption, item.caption_entities),
      file: storeUpload(state, uploadOf(request, item.media, item.type), item.type),
    }));
    state.nextAlbum += 1;
    const albumId = `bot-album${state.nextAlbum}`;
    return items.map((item) => postMessage(state, chat, params, item, albumId));
  },
  editMessageMedia: (state: BotState, request: BotRequest) => {
    const { chat, message } = ownMessage(state, request.params);
    const media = mediaSchema.safeParse(request.params['media']).data;
    if (media === undefined) throw badRequest("can't parse media JSON object");
    if (message.file === undefined) throw badRequest('there is no media in the message to edit');
    if (message.albumId !== undefined && media.type !== message.file.kind) {
      throw badRequest("the type of the file can't be changed in an album");
    }
    return applyEdit(chat, message, {
      ...captionOf(media.caption, media.caption_entities),
      buttons: checkKeyboard(request.params['reply_markup']),
      file: storeUpload(state, uploadOf(request, media.media, media.type), media.type),
    });
  },
  getFile: (state: BotState, { params }: BotRequest) => {
    const file = state.files.get(String(params['file_id']));
    if (file === undefined) throw badRequest('wrong file_id or the file is temporarily unavailable');
    const bytes = file.claimedBytes ?? file.bytes.length;
    if (bytes > downloadBytesMax) throw badRequest('file is too big');
    return {
      file_id: file.fileId,
      file_unique_id: `u${file.fileId}`,
      file_size: bytes,
      file_path: `${file.kind}s/${file.fileId}`,
    };
  },
};

function sendFile(state: BotState, request: BotRequest, kind: 'document' | 'photo'): unknown {
  const chat = openChat(state, request.params);
  const upload = uploadOf(request, String(request.params[kind] ?? kind), kind);
  const caption = captionOf(request.params['caption'], request.params['caption_entities']);
  return postMessage(state, chat, request.params, { ...caption, file: storeUpload(state, upload, kind) });
}

function captionOf(caption: unknown, entities: unknown) {
  const text = checkText(caption, captionMax, true);
  return { text, entities: checkEntities(text, entities) };
}

function uploadOf(request: BotRequest, attached: string, kind: 'document' | 'photo'): Upload {
  const upload = request.files.get(attached.replace('attach://', '')) ?? request.files.get(kind);
  if (upload === undefined) throw badRequest(`there is no ${kind} in the request`);
  if (upload.bytes.length === 0) throw badRequest('file must be non-empty');
  if (upload.bytes.length > uploadBytesMax) throw new BotApiError(413, 'Request Entity Too Large');
  if (kind === 'photo') checkPicture(upload);
  return upload;
}

/** The server reads a picture before it takes it as one. */
function checkPicture({ bytes }: Upload): void {
  if (bytes.length > photoBytesMax)
    throw badRequest('file of size is too big for a photo; the maximum size is 10485760');
  const head = bytes.subarray(0, 12).toString('latin1');
  const isPicture = head.startsWith('\u0089PNG') || head.startsWith('\u00ff\u00d8\u00ff') || head.includes('WEBP');
  if (!isPicture) throw badRequest('IMAGE_PROCESS_FAILED');
}

function storeUpload(state: BotState, upload: Upload, kind: FakeFile['kind']): FakeFile {
  const file = { fileId: `file${state.nextFile}`, ...upload, kind };
  state.nextFile += 1;
  state.files.set(file.fileId, file);
  return file;
}
