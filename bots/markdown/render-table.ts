import type { Token, Tokens } from 'marked';
import { joinStyled, type StyledBlock, type StyledText } from './styled-text.ts';

/** Wider tables wrap into noise on every screen; they are shown as records instead. */
const columnsMax = 90;

/** Draws a table in monospace with aligned columns, or as one record per row when it would be too wide to read. */
export function renderTable(table: Tokens.Table, renderCell: (tokens: readonly Token[]) => StyledText): StyledBlock {
  const cells = [table.header, ...table.rows].map((row) => row.map((cell) => renderCell(cell.tokens)));
  const lines = cells.map((row) => row.map((cell) => cell.text.replaceAll('\n', ' ')));
  const widths = (lines[0] ?? []).map((_, column) =>
    lines.reduce((widest, row) => Math.max(widest, displayWidth(row[column] ?? '')), 1),
  );
  const total = widths.reduce((sum, width) => sum + width + 3, -3);
  if (total > columnsMax) return renderRecords(cells);

  const drawn = lines.map((row) =>
    widths
      .map((width, column) => pad(row[column] ?? '', width, table.align[column] ?? 'left'))
      .join(' | ')
      .trimEnd(),
  );
  const head = `${drawn[0] ?? ''}\n${widths.map((width) => '-'.repeat(width)).join('-+-')}`;
  const text = [head, ...drawn.slice(1)].join('\n');
  return {
    kind: 'table',
    text,
    headLength: head.length + 1,
    spans: [{ style: 'pre', offset: 0, length: text.length }],
  };
}

function renderRecords(cells: readonly (readonly StyledText[])[]): StyledBlock {
  const [header = [], ...rows] = cells;
  const records = rows.map((row) =>
    joinStyled(
      row.map((cell, column) => {
        const label: StyledText = { text: `${header[column]?.text ?? ''}:`, spans: [] };
        const bold: StyledText = { ...label, spans: [{ style: 'bold', offset: 0, length: label.text.length }] };
        return joinStyled([column === 0 ? { text: '•', spans: [] } : { text: ' ', spans: [] }, bold, cell], ' ');
      }),
      '\n',
    ),
  );
  return { kind: 'text', headLength: 0, ...joinStyled(rows.length === 0 ? [joinStyled(header, ' ')] : records, '\n') };
}

function pad(text: string, width: number, align: 'left' | 'right' | 'center'): string {
  const missing = Math.max(0, width - displayWidth(text));
  const before = align === 'right' ? missing : align === 'center' ? Math.floor(missing / 2) : 0;
  return ' '.repeat(before) + text + ' '.repeat(missing - before);
}

const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u;
const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/** Columns a text takes in a monospace font: East Asian characters and emoji take two. */
function displayWidth(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let width = 0;
  for (const { segment } of segmenter.segment(text)) width += wide.test(segment) ? 2 : 1;
  return width;
}
