import { GrammyError, HttpError } from 'grammy';
import { describe, expect, it } from 'vitest';
import {
  classifyTelegramError,
  isNotOffered,
  isParentGone,
  isThreadGone,
  toChannelError,
} from '#bots/telegram/telegram-errors.ts';
import { TransportError } from '#bots/telegram/telegram-fetch.ts';

const refusal = (error_code: number, description: string, parameters = {}, method = 'sendMessage') =>
  new GrammyError('failed', { ok: false, error_code, description, parameters }, method, {});
const network = (method: string, isSent: boolean) =>
  new HttpError('failed', new TransportError(method, isSent, 'reset'));

describe('what a Telegram failure means for a delivery', () => {
  it.each([
    [429, 'Too Many Requests: retry after 7', { retry_after: 7 }, { kind: 'throttled', afterMs: 7_000 }],
    [429, 'Too Many Requests', {}, { kind: 'throttled', afterMs: 3_000 }],
    [400, 'Bad Request: group chat was upgraded', { migrate_to_chat_id: -200 }, { kind: 'moved', newRoom: '-200' }],
    [400, 'Bad Request: message is not modified: specified', {}, { kind: 'no_op' }],
    [400, 'Bad Request: message to edit not found', {}, { kind: 'gone' }],
    [400, "Bad Request: message can't be edited", {}, { kind: 'gone' }],
    [400, 'Bad Request: message to delete not found', {}, { kind: 'gone' }],
    [400, 'Bad Request: message is too long', {}, { kind: 'too_big' }],
    [413, 'Request Entity Too Large', {}, { kind: 'too_big' }],
    [400, 'Bad Request: message thread not found', {}, { kind: 'unreachable' }],
    [400, 'Bad Request: TOPIC_CLOSED', {}, { kind: 'unreachable' }],
    [400, 'Bad Request: chat not found', {}, { kind: 'unreachable' }],
    [400, 'Bad Request: not enough rights to send text messages to the chat', {}, { kind: 'unreachable' }],
    [403, 'Forbidden: bot was blocked by the user', {}, { kind: 'unreachable' }],
    [403, "Forbidden: bot can't initiate conversation with a user", {}, { kind: 'unreachable' }],
    [400, 'Bad Request: query is too old and response timeout expired', {}, { kind: 'expired' }],
    [400, "Bad Request: can't parse entities", {}, { kind: 'bad_format' }],
    [400, 'Bad Request: something new', {}, { kind: 'bad_format' }],
    [401, 'Unauthorized', {}, { kind: 'auth' }],
    [409, 'Conflict: terminated by other getUpdates request', {}, { kind: 'conflict' }],
    [500, 'Internal Server Error', {}, { kind: 'retry' }],
    [502, 'Bad Gateway', {}, { kind: 'retry' }],
    [504, 'Gateway Timeout', {}, { kind: 'unknown_outcome' }],
  ])('%i %s', (code, description, parameters, expected) => {
    expect(classifyTelegramError(refusal(code, description, parameters))).toMatchObject(expected);
    expect(classifyTelegramError(toChannelError(refusal(code, description, parameters)))).toMatchObject(expected);
  });

  it('what can be mended on the spot is known by what the server says, also through our own error', () => {
    for (const text of ['message thread not found', 'TOPIC_CLOSED', 'TOPIC_DELETED']) {
      expect(isThreadGone(toChannelError(refusal(400, `Bad Request: ${text}`)))).toBe(true);
    }
    expect(isParentGone(refusal(400, 'Bad Request: message to be replied not found'))).toBe(true);
    expect(isThreadGone(new Error('TOPIC_CLOSED'))).toBe(false);
  });

  it.each([
    [404, 'Not Found', true],
    [400, "Bad Request: can't parse rich message", true],
    [400, 'Bad Request: chat not found', false],
    [400, 'Bad Request: message to be replied not found', false],
    [429, 'Too Many Requests', false],
    [403, 'Forbidden: bot was blocked by the user', false],
  ])('%i %s: whether an older server is the reason is %s', (code, description, expected) => {
    expect(isNotOffered(refusal(code, description))).toBe(expected);
  });

  it('a lost answer leaves a post open and lets everything else be repeated', () => {
    expect(classifyTelegramError(network('sendMessage', true)).kind).toBe('unknown_outcome');
    expect(classifyTelegramError(network('sendDocument', true)).kind).toBe('unknown_outcome');
    for (const method of ['editMessageText', 'deleteMessage', 'sendMessageDraft', 'sendChatAction']) {
      expect(classifyTelegramError(network(method, true)).kind).toBe('retry');
    }
  });

  it('a post that never left may be repeated', () => {
    expect(classifyTelegramError(network('sendMessage', false)).kind).toBe('retry');
  });

  it('our own error says whether a retry helps and how long to wait', () => {
    const throttled = toChannelError(refusal(429, 'Too Many Requests', { retry_after: 2 }));
    expect(throttled).toMatchObject({ code: 'channel.unavailable', retryAfterMs: 2_000 });
    expect(toChannelError(refusal(403, 'Forbidden'))).toMatchObject({ code: 'channel.rejected' });
  });
});
