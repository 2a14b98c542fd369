import { styleText } from 'node:util';

/** Where a command writes; a test gives its own. */
export interface Terminal {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
  /** Colours are used only on a terminal and never when NO_COLOR is set. */
  readonly hasColour: boolean;
}

type Format = Parameters<typeof styleText>[0];

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
export function printTable(
  terminal: Terminal,
  header: readonly string[],
  rows: ReadonlyArray<readonly string[]>,
): void {
  const clean = rows.map((row) => row.map(printable));
  const widths = header.map((title, column) => Math.max(title.length, ...clean.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells.map((cell, column) => (column === cells.length - 1 ? cell : cell.padEnd(widths[column] ?? 0))).join('  ');
  printLine(terminal, paint(terminal, 'bold', line(header)));
  for (const row of clean) printLine(terminal, line(row));
}

/** A cell may hold what a stranger or a model wrote: control characters must not reach the terminal. */
function printable(cell: string): string {
  return cell.replaceAll(/[\u0000-\u001f\u007f-\u009f]+/g, ' ');
}
