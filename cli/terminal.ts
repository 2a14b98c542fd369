import { styleText } from 'node:util';

/** Where a command writes; a test gives its own. */
export interface Terminal {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
  /** Colours are used only on a terminal and never when NO_COLOR is set. */
  readonly hasColour: boolean;
}

export type Format = Parameters<typeof styleText>[0];

/** A cell of a table; one with a format is painted after its width was measured. */
export type Cell = string | { readonly text: string; readonly format: Format };

export function paint(terminal: Terminal, format: Format, text: string): string {
  return terminal.hasColour ? styleText(format, text, { validateStream: false }) : text;
}

export function printLine(terminal: Terminal, text = ''): void {
  terminal.stdout.write(`${text}\n`);
}

/** One JSON object on one line, for programs that read the last line. Big integers become text. */
export function printJson(terminal: Terminal, value: unknown): void {
  const text = JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? item.toString() : item));
  terminal.stdout.write(`${text}\n`);
}

/** Rows under a header, columns as wide as their widest cell; the last column is not padded. */
export function printTable(terminal: Terminal, header: readonly string[], rows: ReadonlyArray<readonly Cell[]>): void {
  const clean = rows.map((row) => row.map((cell) => printable(textOf(cell))));
  const widths = header.map((title, column) => Math.max(title.length, ...clean.map((row) => row[column]?.length ?? 0)));
  const pad = (cells: readonly string[]): string[] =>
    cells.map((cell, column) => (column === cells.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)));
  printLine(terminal, paint(terminal, 'bold', pad(header).join('  ')));
  for (const [index, row] of clean.entries()) {
    const cells = pad(row).map((text, column) => {
      const cell = rows[index]?.[column];
      return cell === undefined || typeof cell === 'string' ? text : paint(terminal, cell.format, text);
    });
    printLine(terminal, cells.join('  '));
  }
}

function textOf(cell: Cell): string {
  return typeof cell === 'string' ? cell : cell.text;
}

/** A cell may hold what a stranger or a model wrote: control characters must not reach the terminal. */
function printable(cell: string): string {
  return cell.replaceAll(/[\u0000-\u001f\u007f-\u009f]+/g, ' ');
}
