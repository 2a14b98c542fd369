import { invalidBody, RestError } from './rest-error.ts';
import { walk } from './wire.ts';
import { flagBits } from './world.ts';

export interface Upload {
  readonly name: string;
  readonly mime: string;
  readonly bytes: Buffer;
}

const contentMax = 2_000;
const fileBytesMax = 10 * 1024 * 1024;
const requestBytesMax = 25 * 1024 * 1024;
const componentsMax = 40;
const cardTextMax = 4_000;

/** @throws RestError as Discord refuses a message; `existing` is what is being edited. */
export function checkMessage(
  body: Readonly<Record<string, unknown>>,
  files: readonly Upload[],
  existing?: { readonly flags: number; readonly content: string; readonly files: readonly unknown[] },
): void {
  const content = body['content'];
  const flags = Number(body['flags'] ?? 0) | ((existing?.flags ?? 0) & flagBits.componentsV2);
  const isCard = (flags & flagBits.componentsV2) !== 0;
  if (content !== undefined && content !== null && typeof content !== 'string') {
    throw invalidBody('content', 'STRING_TYPE_CONVERT', 'Could not interpret as string.');
  }
  if (typeof content === 'string' && content.length > contentMax) {
    throw invalidBody('content', 'BASE_TYPE_MAX_LENGTH', 'Must be 2000 or fewer in length.');
  }
  if (isCard) {
    if (typeof content === 'string' && content !== '') {
      const message = 'The `content` field cannot be used when using MessageFlags.IS_COMPONENTS_V2';
      throw invalidBody('content', 'MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2', message);
    }
    if (existing !== undefined && existing.content !== '' && content !== null) {
      throw invalidBody('content', 'MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2', 'content must be removed');
    }
  }
  const embeds = body['embeds'];
  if (Array.isArray(embeds) && embeds.length > 10) {
    throw invalidBody('embeds', 'BASE_TYPE_MAX_LENGTH', 'Must be 10 or fewer in length.');
  }
  const nonce = body['nonce'];
  if (nonce !== undefined && String(nonce).length > 25) {
    throw invalidBody('nonce', 'BASE_TYPE_MAX_LENGTH', 'Must be 25 or fewer in length.');
  }
  checkMentions(body['allowed_mentions']);
  checkComponents(body['components'], isCard);
  checkFiles(files);
  const hasComponents = Array.isArray(body['components']) && body['components'].length > 0;
  const isEmpty = (content ?? existing?.content ?? '') === '' || (content === null && !isCard);
  const keepsFiles = existing !== undefined && existing.files.length > 0 && body['attachments'] === undefined;
  if (
    isEmpty &&
    !hasComponents &&
    files.length === 0 &&
    !keepsFiles &&
    (embeds === undefined || !Array.isArray(embeds))
  ) {
    throw new RestError(400, 50_006, 'Cannot send an empty message');
  }
}

function checkMentions(allowed: unknown): void {
  if (typeof allowed !== 'object' || allowed === null) return;
  const parse: unknown = Reflect.get(allowed, 'parse');
  const users: unknown = Reflect.get(allowed, 'users');
  if (Array.isArray(parse) && parse.includes('users') && Array.isArray(users) && users.length > 0) {
    throw invalidBody(
      'allowed_mentions',
      'MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE',
      'parse:["users"] and users are exclusive.',
    );
  }
}

function checkComponents(components: unknown, isCard: boolean): void {
  if (components === undefined || components === null) return;
  if (!Array.isArray(components)) throw invalidBody('components', 'LIST_TYPE_CONVERT', 'Only iterables may be used.');
  const all = walk(components);
  if (!isCard) {
    if (components.length > 5)
      throw invalidBody('components', 'BASE_TYPE_BAD_LENGTH', 'Must be between 1 and 5 in length.');
    if (components.some((component: unknown) => typeOf(component) !== 1)) {
      throw invalidBody('components.0.type', 'BASE_TYPE_CHOICES', 'Value must be one of (1,).');
    }
  }
  if (all.length > componentsMax) {
    throw invalidBody('components', 'COMPONENT_MAX_TOTAL_COMPONENTS_EXCEEDED', 'Maximum of 40 components.');
  }
  let text = 0;
  const ids = new Set<string>();
  for (const component of all) {
    switch (component['type']) {
      case 1:
        if (
          !Array.isArray(component['components']) ||
          component['components'].length < 1 ||
          component['components'].length > 5
        ) {
          throw invalidBody('components.0.components', 'BASE_TYPE_BAD_LENGTH', 'Must be between 1 and 5 in length.');
        }
        break;
      case 2:
        checkButton(component, ids);
        break;
      case 10: {
        const content = component['content'];
        if (typeof content !== 'string' || content === '') {
          throw invalidBody('components.0.content', 'BASE_TYPE_BAD_LENGTH', 'Must be between 1 and 4000 in length.');
        }
        text += content.length;
        break;
      }
      case 17:
        if (!isCard) throw invalidBody('components.0.type', 'BASE_TYPE_CHOICES', 'Value must be one of (1,).');
        break;
      default:
    }
  }
  if (text > cardTextMax) {
    throw invalidBody(
      'components',
      'COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED',
      'Displayable text exceeds 4000 characters.',
    );
  }
}

function typeOf(component: unknown): unknown {
  return typeof component === 'object' && component !== null ? Reflect.get(component, 'type') : undefined;
}

function checkButton(button: Readonly<Record<string, unknown>>, ids: Set<string>): void {
  const { label, style, custom_id: id, url } = button as Record<string, unknown>;
  if (typeof label !== 'string' || label.length < 1 || label.length > 80) {
    throw invalidBody('components.0.components.0.label', 'BASE_TYPE_BAD_LENGTH', 'Must be between 1 and 80 in length.');
  }
  if (style === 5) {
    if (typeof url !== 'string' || url.length > 512 || !/^(?:https?|discord):\/\//.test(url)) {
      throw invalidBody('components.0.components.0.url', 'URL_TYPE_INVALID_URL', 'Not a well formed URL.');
    }
    return;
  }
  if (![1, 2, 3, 4].includes(Number(style))) {
    throw invalidBody(
      'components.0.components.0.style',
      'BASE_TYPE_CHOICES',
      'Value must be one of (1, 2, 3, 4, 5, 6).',
    );
  }
  if (typeof id !== 'string' || id.length < 1 || id.length > 100) {
    throw invalidBody(
      'components.0.components.0.custom_id',
      'BASE_TYPE_BAD_LENGTH',
      'Must be between 1 and 100 in length.',
    );
  }
  if (ids.has(id)) {
    throw invalidBody(
      'components.0.components.0.custom_id',
      'COMPONENT_CUSTOM_ID_DUPLICATED',
      'Component custom id cannot be duplicated',
    );
  }
  ids.add(id);
}

function checkFiles(files: readonly Upload[]): void {
  if (files.length > 10) throw invalidBody('attachments', 'BASE_TYPE_MAX_LENGTH', 'Must be 10 or fewer in length.');
  const total = files.reduce((sum, { bytes }) => sum + bytes.length, 0);
  if (total > requestBytesMax || files.some(({ bytes }) => bytes.length > fileBytesMax)) {
    throw new RestError(413, 40_005, 'Request entity too large');
  }
  if (files.some(({ bytes }) => bytes.length === 0)) {
    throw new RestError(400, 50_006, 'Cannot send an empty message');
  }
}

/** @throws RestError as Discord refuses a form. */
export function checkModal(data: unknown): asserts data is Record<string, unknown> {
  if (typeof data !== 'object' || data === null)
    throw invalidBody('data', 'BASE_TYPE_REQUIRED', 'This field is required');
  const { title, custom_id: id, components } = data as Record<string, unknown>;
  if (typeof title !== 'string' || title.length < 1 || title.length > 45) {
    throw invalidBody('data.title', 'BASE_TYPE_BAD_LENGTH', 'Must be between 1 and 45 in length.');
  }
  if (typeof id !== 'string' || id.length < 1 || id.length > 100) {
    throw invalidBody('data.custom_id', 'BASE_TYPE_BAD_LENGTH', 'Must be between 1 and 100 in length.');
  }
  if (!Array.isArray(components) || components.length < 1 || components.length > 5) {
    throw invalidBody('data.components', 'BASE_TYPE_BAD_LENGTH', 'Must be between 1 and 5 in length.');
  }
  for (const component of walk(components)) {
    if (component['type'] === 18 && String(component['label'] ?? '').length > 45) {
      throw invalidBody('data.components.0.label', 'BASE_TYPE_MAX_LENGTH', 'Must be 45 or fewer in length.');
    }
    if (component['type'] === 4 && Number(component['max_length'] ?? 1) > 4_000) {
      throw invalidBody(
        'data.components.0.component.max_length',
        'NUMBER_TYPE_MAX',
        'int value should be at most 4000.',
      );
    }
  }
}
