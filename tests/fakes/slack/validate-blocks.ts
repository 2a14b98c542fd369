import { SlackError } from './slack-error.ts';

/** Text of all blocks of one message together, as Slack enforces it. */
const allTextMax = 13_200;
const markdownMax = 12_000;
const blocksMax = { message: 50, view: 100 };

type Block = Record<string, unknown>;

function invalid(message: string): SlackError {
  return new SlackError('invalid_blocks', { response_metadata: { messages: [`[ERROR] ${message}`] } });
}

/**
 * Checks blocks as Slack does.
 * @throws SlackError `invalid_blocks` with a pointer, `msg_blocks_too_long`, `invalid_blocks_format` for no list.
 */
export function checkBlocks(
  value: unknown,
  place: 'message' | 'view',
  options: { readonly knowsNewBlocks: boolean },
): readonly Block[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new SlackError('invalid_blocks_format');
  const blocks = value as Block[];
  if (blocks.length > blocksMax[place])
    throw invalid(`no more than ${blocksMax[place]} items allowed [json-pointer:/blocks]`);
  const actionIds = new Set<string>();
  const blockIds = new Set<string>();
  let markdown = 0;
  let all = 0;
  for (const [index, block] of blocks.entries()) {
    const at = `[json-pointer:/blocks/${index}`;
    const id = block['block_id'];
    if (typeof id === 'string') {
      if (blockIds.has(id) || id.length > 255) throw invalid(`block_id already exists ${at}/block_id]`);
      blockIds.add(id);
    }
    all += lengthOf(block);
    if (block['type'] === 'markdown') markdown += String(block['text']).length;
    checkBlock(block, { at, place, actionIds, ...options });
  }
  if (markdown > markdownMax) throw new SlackError('msg_blocks_too_long');
  if (place === 'message' && all > allTextMax) throw new SlackError('msg_blocks_too_long');
  return blocks;
}

function checkBlock(
  block: Block,
  context: {
    readonly at: string;
    readonly place: string;
    readonly actionIds: Set<string>;
    readonly knowsNewBlocks: boolean;
  },
): void {
  const { at, place, actionIds, knowsNewBlocks } = context;
  const need = (isFine: boolean, what: string): void => {
    if (!isFine) throw invalid(`${what} ${at}]`);
  };
  const isNew = ['alert', 'plan', 'task_card', 'markdown'].includes(String(block['type']));
  if (isNew && (!knowsNewBlocks || place === 'view'))
    throw invalid(`unsupported type: ${String(block['type'])} ${at}/type]`);
  switch (block['type']) {
    case 'markdown':
      need(typeof block['text'] === 'string' && block['text'].length > 0, 'missing text');
      return;
    case 'section': {
      const { text, fields } = block as { text?: unknown; fields?: unknown[] };
      need(text !== undefined || fields !== undefined, 'missing text or fields');
      if (text !== undefined) need(isText(text, 3_000), 'must be less than 3001 characters');
      if (fields !== undefined) {
        need(fields.length >= 1 && fields.length <= 10, 'no more than 10 fields');
        for (const field of fields) need(isText(field, 2_000), 'must be less than 2001 characters');
      }
      return;
    }
    case 'context': {
      const elements = block['elements'] as unknown[];
      need(Array.isArray(elements) && elements.length >= 1 && elements.length <= 10, 'between 1 and 10 elements');
      for (const element of elements) need(isText(element, 3_000), 'must be less than 3001 characters');
      return;
    }
    case 'header':
      need(isText(block['text'], 150), 'must be less than 151 characters');
      return;
    case 'divider':
      return;
    case 'alert':
      need(isText(block['text'], 3_000), 'must be less than 3001 characters');
      need(
        ['default', 'info', 'warning', 'error', 'success'].includes(String(block['level'] ?? 'default')),
        'bad level',
      );
      return;
    case 'task_card':
      checkTask(block, need);
      return;
    case 'plan':
      need(typeof block['title'] === 'string' && block['title'].length > 0, 'missing title');
      need((block['tasks'] as unknown[]).length <= 50, 'too many tasks');
      for (const task of block['tasks'] as Block[]) checkTask(task, need);
      return;
    case 'actions': {
      const elements = block['elements'] as Block[];
      need(Array.isArray(elements) && elements.length >= 1 && elements.length <= 25, 'between 1 and 25 elements');
      for (const element of elements) checkButton(element, actionIds, need);
      return;
    }
    case 'input':
      need(place === 'view', 'only in views');
      checkInput(block, need);
      return;
    default:
      throw invalid(`unsupported type: ${String(block['type'])} ${at}/type]`);
  }
}

type Need = (isFine: boolean, what: string) => void;

function checkTask(task: Block, need: Need): void {
  need(task['type'] === 'task_card', 'must be a task_card');
  need(
    typeof task['task_id'] === 'string' && typeof task['title'] === 'string' && task['title'] !== '',
    'missing title',
  );
  need(['pending', 'in_progress', 'complete', 'error'].includes(String(task['status'])), 'bad status');
  const { details } = task;
  if (details !== undefined) need((details as Block)['type'] === 'rich_text', 'details must be rich_text');
}

function checkButton(button: Block, actionIds: Set<string>, need: Need): void {
  need(button['type'] === 'button', 'only buttons are known here');
  const id = String(button['action_id'] ?? '');
  need(id.length >= 1 && id.length <= 255 && !actionIds.has(id), 'action_id must be unique');
  actionIds.add(id);
  const text = button['text'];
  need(isText(text, 75) && (text as Block)['type'] === 'plain_text', 'must be less than 76 characters');
  need(String(button['value'] ?? '').length <= 2_000, 'value must be less than 2001 characters');
  need(String(button['url'] ?? '').length <= 3_000, 'url must be less than 3001 characters');
  need(['undefined', 'primary', 'danger'].includes(String(button['style'])), 'bad style');
}

function checkInput(block: Block, need: Need): void {
  need(isText(block['label'], 2_000) && (block['label'] as Block)['type'] === 'plain_text', 'bad label');
  const element = block['element'] as Block;
  need(element['type'] === 'plain_text_input', 'only text inputs are known here');
  const max = Number(element['max_length'] ?? 3_000);
  need(max >= 1 && max <= 3_000, 'max_length must be between 1 and 3000');
}

/** A text object within a limit. Slack refuses empty ones. */
function isText(value: unknown, max: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { type, text } = value as Block;
  return (
    (type === 'plain_text' || type === 'mrkdwn') && typeof text === 'string' && text.length >= 1 && text.length <= max
  );
}

function lengthOf(value: unknown): number {
  if (typeof value === 'string') return 0;
  if (Array.isArray(value)) return value.reduce((sum: number, item) => sum + lengthOf(item), 0);
  if (typeof value !== 'object' || value === null) return 0;
  return Object.entries(value).reduce(
    (sum, [key, item]) =>
      sum + (typeof item === 'string' ? (key === 'text' || key === 'title' ? item.length : 0) : lengthOf(item)),
    0,
  );
}

/** @throws SlackError `invalid_arguments` for a view Slack would not open. */
export function checkView(value: unknown, type: 'modal' | 'home'): Block {
  const view = value as Block;
  if (typeof view !== 'object' || view === null || view['type'] !== type) throw new SlackError('invalid_arguments');
  if (String(view['private_metadata'] ?? '').length > 3_000 || String(view['callback_id'] ?? '').length > 255) {
    throw new SlackError('invalid_arguments');
  }
  for (const name of ['title', 'submit', 'close']) {
    if (type === 'modal' && !isText(view[name], 24)) throw new SlackError('invalid_arguments');
  }
  checkBlocks(view['blocks'], 'view', { knowsNewBlocks: true });
  return view;
}
