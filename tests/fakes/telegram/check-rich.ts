import { z } from 'zod';
import { badRequest } from './bot-api-error.ts';

type Block = { readonly type: string; readonly [field: string]: unknown };

const blockSchema: z.ZodType<Block> = z.looseObject({ type: z.string() });
const richSchema = z.strictObject({
  blocks: z.array(blockSchema).min(1),
  skip_entity_detection: z.boolean().optional(),
});

/**
 * Checks a rich message of explicit blocks against the server's limits, and says what it reads as. Markdown and HTML are
 * not taken: nothing of ours sends any.
 */
export function checkRich(given: unknown): { readonly rich: unknown; readonly text: string } {
  const parsed = richSchema.safeParse(given);
  if (!parsed.success) throw badRequest("can't parse rich message: blocks expected");
  const count = { chars: 0, blocks: 0 };
  const text = parsed.data.blocks.map((block) => readBlock(block, 1, count)).join('\n\n');
  if (count.chars > 32_768) throw badRequest('RICH_MESSAGE_TOO_LONG');
  if (count.blocks > 500) throw badRequest('RICH_MESSAGE_BLOCKS_TOO_MUCH');
  if (text.trim() === '') throw badRequest('message text is empty');
  return { rich: parsed.data, text };
}

interface Count {
  chars: number;
  blocks: number;
}

function readBlock(block: Block, depth: number, count: Count): string {
  if (depth > 16) throw badRequest('RICH_MESSAGE_TOO_DEEP');
  count.blocks += 1;
  switch (block.type) {
    case 'paragraph':
    case 'pre':
      return readText(block['text'], depth, count);
    case 'heading':
      if (![1, 2, 3, 4, 5, 6].includes(Number(block['size']))) throw badRequest('wrong heading size');
      return readText(block['text'], depth, count);
    case 'divider':
      return '———';
    case 'blockquote':
      return readBlocks(block['blocks'], depth, count);
    case 'list':
      return listOf(block['items'])
        .map((item) => {
          const { blocks, has_checkbox: hasBox, is_checked: isChecked, value } = item;
          const sign =
            hasBox === true ? (isChecked === true ? '☑' : '☐') : value === undefined ? '•' : `${String(value)}.`;
          return `${sign} ${readBlocks(blocks, depth + 1, count)}`;
        })
        .join('\n');
    case 'table':
      return z
        .array(z.array(z.looseObject({ text: z.unknown().optional(), align: z.string(), valign: z.string() })).max(20))
        .parse(block['cells'])
        .map((row) => {
          count.blocks += 1;
          return row.map((cell) => readText(cell.text ?? '', depth, count)).join(' | ');
        })
        .join('\n');
    default:
      throw badRequest(`can't parse rich message: unknown block ${block.type}`);
  }
}

function readBlocks(given: unknown, depth: number, count: Count): string {
  return z
    .array(blockSchema)
    .parse(given)
    .map((block) => readBlock(block, depth + 1, count))
    .join('\n');
}

function listOf(given: unknown) {
  return z
    .array(
      z.looseObject({
        blocks: z.unknown(),
        has_checkbox: z.boolean().optional(),
        is_checked: z.boolean().optional(),
        value: z.number().optional(),
      }),
    )
    .parse(given);
}

const inlineTypes = new Set(['bold', 'italic', 'strikethrough', 'code', 'url', 'text_mention']);

function readText(given: unknown, depth: number, count: Count): string {
  if (depth > 16) throw badRequest('RICH_MESSAGE_TOO_DEEP');
  if (typeof given === 'string') {
    if (!given.isWellFormed()) throw badRequest('strings must be encoded in UTF-8');
    count.chars += given.length;
    return given;
  }
  if (Array.isArray(given)) return given.map((part) => readText(part, depth, count)).join('');
  const inline = z
    .looseObject({ type: z.string(), text: z.unknown(), url: z.string().optional() })
    .safeParse(given).data;
  if (inline === undefined || !inlineTypes.has(inline.type)) throw badRequest("can't parse rich message: bad text");
  if (inline.type === 'url' && !/^https?:/.test(inline.url ?? '')) throw badRequest('ENTITY_URL_INVALID');
  return readText(inline.text, depth + 1, count);
}
