import type { styleText } from 'node:util';
import { cleanLine, cleanText, textWidth, wrapWords } from './clean-text.ts';
import type { ChatPart } from './stream-event.ts';

/** Colours a text, or leaves it as it is where colours are not wanted. */
export type Paint = (format: Parameters<typeof styleText>[0], text: string) => string;

interface RenderOptions {
  readonly paint: Paint;
  /** Prose is broken between words at this width; undefined leaves lines as they are. */
  readonly columns?: number | undefined;
  /** The key that answers a button, by its token, where keys are offered. */
  readonly keys?: ReadonlyMap<string, string>;
  /** What stands behind a file, such as the command that saves it. */
  readonly fileHint?: (index: number) => string;
}

const noticeMarks = {
  info: ['cyan', 'i'],
  warn: ['yellow', '!'],
  error: ['red', 'x'],
  success: ['green', '+'],
  status: ['cyan', '='],
  question: ['magenta', '?'],
  announcement: ['bold', '*'],
} as const;

const taskMarks = {
  pending: ['dim', '.'],
  running: ['cyan', '>'],
  done: ['green', '+'],
  failed: ['red', 'x'],
  skipped: ['dim', '-'],
} as const;

/** A message's parts as terminal text without a final newline. Everything in it came from outside and is cleaned. */
export function renderParts(parts: readonly ChatPart[], options: RenderOptions): string {
  return parts
    .map((part) => renderPart(part, options))
    .filter((text) => text !== '')
    .join('\n');
}

function renderPart(part: ChatPart, options: RenderOptions): string {
  const { paint } = options;
  switch (part.type) {
    case 'markdown':
      return renderMarkdown(part.markdown, paint, options.columns);
    case 'code':
      return renderCode(cleanText(part.text).split('\n'), paint);
    case 'fields': {
      const fields = part.fields.map(([name, value]) => [cleanLine(name), cleanText(value)] as const);
      const width = Math.min(24, Math.max(...fields.map(([name]) => textWidth(name)), 0));
      return fields
        .map(([name, value]) => {
          const pad = ' '.repeat(Math.max(0, width - textWidth(name)));
          return `  ${paint('dim', name)}${pad}  ${value.replaceAll('\n', `\n${' '.repeat(width + 4)}`)}`;
        })
        .join('\n');
    }
    case 'notice': {
      const [colour, mark] = noticeMarks[part.level];
      return `${paint(colour, mark)} ${renderMarkdown(part.markdown, paint, options.columns && options.columns - 2).replaceAll('\n', '\n  ')}`;
    }
    case 'progress': {
      const tasks = part.tasks.map(({ title, state, detail }) => {
        const [colour, mark] = taskMarks[state];
        return `  ${paint(colour, mark)} ${cleanLine(title)}${detail === undefined ? '' : paint('dim', ` (${cleanLine(detail)})`)}`;
      });
      return [paint('bold', cleanLine(part.title)), ...tasks].join('\n');
    }
    case 'buttons':
      return part.rows
        .map((row) =>
          row
            .map((button) => {
              const label = cleanLine(button.label);
              const key = button.token === undefined ? undefined : options.keys?.get(button.token);
              if (button.isDisabled === true) return paint('dim', `(${label})`);
              if (button.url !== undefined) return `${label} <${cleanLine(button.url)}>`;
              return key === undefined ? `[${label}]` : `${paint('bold', `[${key}]`)} ${label}`;
            })
            .join('   '),
        )
        .join('\n');
    case 'file': {
      const bytes = 'index' in part ? part.bytes : (part.bytes ?? Buffer.byteLength(part.dataBase64, 'base64'));
      const hint = 'index' in part ? (options.fileHint?.(part.index) ?? '') : '';
      return `${paint('dim', 'file')} ${cleanLine(part.name)} ${paint('dim', `(${size(bytes)})${hint}`)}`;
    }
  }
}

/** Markdown for a terminal, line by line: enough to read it well, nothing that hostile text could make slow. */
export function renderMarkdown(markdown: string, paint: Paint, columns?: number): string {
  const rows: string[] = [];
  let fence: string | undefined;
  let code: string[] = [];
  for (const line of cleanText(markdown).split('\n')) {
    const mark = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1];
    if (fence !== undefined) {
      if (mark?.startsWith(fence) === true && line.trim() === mark) {
        rows.push(renderCode(code, paint));
        fence = undefined;
        code = [];
      } else code.push(line);
    } else if (mark === undefined) {
      const row = renderLine(line, paint);
      rows.push(columns === undefined ? row : wrapWords(row, columns));
    } else fence = mark;
  }
  if (fence !== undefined) rows.push(renderCode(code, paint));
  return rows.join('\n').replace(/^\n+/, '').replace(/\s+$/, '');
}

function renderLine(line: string, paint: Paint): string {
  const heading = /^ {0,3}#{1,6} +(.*)$/.exec(line)?.[1];
  if (heading !== undefined) return paint(['bold', 'underline'], stripMarks(heading.replace(/ +#*$/, '')));
  if (/^ {0,3}([-*_])( *\1){2,} *$/.test(line)) return paint('dim', '────────');
  const quote = /^ {0,3}> ?(.*)$/.exec(line)?.[1];
  if (quote !== undefined) return paint('dim', `│ ${stripMarks(quote)}`);
  const item = /^(\s*)(?:[-*+]|(\d{1,9}[.)])) +(?:\[([ xX])\] +)?(.*)$/.exec(line);
  if (item !== null) {
    const [, indent = '', number, task, text = ''] = item;
    const box = task === undefined ? '' : task === ' ' ? '☐ ' : '☑ ';
    return `${indent}${number ?? '•'} ${box}${renderInline(text, paint)}`;
  }
  return renderInline(line, paint);
}

/** Bold, italics, code and links of one line. Links show their address: a label may say anything. */
function renderInline(line: string, paint: Paint): string {
  // Far over the length of any line a person writes: leave it alone rather than search it.
  if (line.length > 4_000) return line;
  return line
    .split(/(`[^`\n]+`)/)
    .map((piece, index) =>
      index % 2 === 1
        ? paint('cyan', piece.slice(1, -1))
        : piece
            .replaceAll(/!?\[([^[\]]{1,300})\]\(([^()\s]{1,500})\)/g, (_all, label: string, url: string) =>
              label === url ? url : `${label} <${url}>`,
            )
            .replaceAll(/\*\*([^*\n]{1,1000})\*\*/g, (_all, text: string) => paint('bold', text))
            .replaceAll(
              /(^|[\s(])[*_]([^*_\s][^*_\n]{0,500})[*_](?=$|[\s).,;:!?])/g,
              (_all, before: string, text: string) => `${before}${paint('italic', text)}`,
            ),
    )
    .join('');
}

function stripMarks(text: string): string {
  return text.length > 4_000 ? text : text.replaceAll(/\*\*|`/g, '');
}

function renderCode(lines: readonly string[], paint: Paint): string {
  return lines.map((line) => `  ${paint('cyan', line)}`).join('\n');
}

function size(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  return bytes < 1_000_000 ? `${(bytes / 1_000).toFixed(1)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}
