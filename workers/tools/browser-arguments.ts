import { z } from 'zod';
import type { DriverCommand, ElementTarget } from '../browser/driver-protocol.ts';
import { outputCharactersMax } from './tool-output.ts';

/** Characters of a page shown at once; about 3,000 tokens. */
export const pageCharsMax = 12_000;
/** Bounds of one command in the browser. */
const actionMs = 15_000;
const navigateMs = 30_000;
const downloadMs = 60_000;
const waitMsMin = 100;
const waitMsMax = 20_000;
const pixelsMax = 100_000;
const secondMs = 1000;

const browserActions = [
  'navigate',
  'read',
  'screenshot',
  'click',
  'type',
  'press',
  'select',
  'scroll',
  'evaluate',
  'tabs',
  'back',
  'wait',
  'download',
  'upload',
] as const;

const short = z.string().min(1).max(1000);

/** Flat, because models fill one flat object more reliably than one of fourteen shapes, and it costs fewer tokens. */
export const browserParameters = z.strictObject({
  action: z.enum(browserActions).describe('What to do.'),
  url: z
    .url({ protocol: /^https?$/ })
    .max(4096)
    .optional()
    .describe('For navigate'),
  ref: z
    .string()
    .refine((ref) => /^(f\d{1,6})?e\d{1,8}$/.test(ref), 'no ref: take one from what read shows, such as e12')
    .optional()
    .describe('Element: its ref in the last read'),
  role: z
    .string()
    .refine((role) => /^[a-z]{1,40}$/.test(role), 'no ARIA role')
    .optional()
    .describe('Element: ARIA role, with name'),
  name: short.optional().describe('Element: accessible name, label or text'),
  css: short.optional().describe('Element: CSS selector'),
  text: z
    .string()
    .max(100_000)
    .optional()
    .describe('type: the text; press: the key, such as Enter; wait: text to appear'),
  submit: z.boolean().optional().describe('type: then press Enter'),
  values: z.array(short).min(1).max(50).optional().describe('select: options'),
  script: z.string().min(1).max(50_000).optional().describe('evaluate: JavaScript; its value is returned'),
  path: z.string().min(1).max(4096).optional().describe('upload: workspace file'),
  pixels: z.int().optional().describe('scroll: down, negative up'),
  seconds: z.number().optional().describe('wait: at most, up to 20'),
  tab: z.int().optional().describe('tabs: switch to it'),
  close: z.boolean().optional().describe('tabs: close it instead'),
  new_tab: z.boolean().optional().describe('navigate: in a new tab'),
  plain: z.boolean().optional().describe('read: running text instead of the element tree'),
  offset: z.int().optional().describe('read: go on at this character'),
  full_page: z.boolean().optional().describe('screenshot: beyond the window'),
  post: z.boolean().optional().describe('screenshot: also show it in the thread; default true'),
});

export type BrowserArguments = z.infer<typeof browserParameters>;

/** What the driver is to do, and how long it may take. */
export interface PlannedCommand {
  readonly command: DriverCommand;
  readonly timeoutMs: number;
}

/**
 * The driver's command for the arguments of a call; `file` stands in the browser's container.
 * @returns a sentence about what is missing, when something is.
 */
export function planCommand(args: BrowserArguments, file = ''): PlannedCommand | string {
  const { action, text } = args;
  const target = targetOf(args);
  const onElement = target === undefined ? {} : { target };
  switch (action) {
    case 'navigate':
      if (args.url === undefined) return missing('navigate', 'url');
      return plan({ action, url: args.url, isNewTab: args.new_tab === true }, navigateMs);
    case 'read':
      return plan({
        action,
        isText: args.plain === true,
        offset: Math.max(0, args.offset ?? 0),
        charsMax: pageCharsMax,
        ...onElement,
      });
    case 'screenshot':
      return plan({ action, isFullPage: args.full_page === true, ...onElement });
    case 'click':
      return target === undefined ? element('click') : plan({ action, target });
    case 'type':
      if (text === undefined) return missing('type', 'text');
      return target === undefined ? element('type') : plan({ action, target, text, isSubmit: args.submit === true });
    case 'press':
      return text === undefined || text === '' ? missing('press', 'text') : plan({ action, key: text, ...onElement });
    case 'select':
      if (args.values === undefined) return missing('select', 'values');
      return target === undefined ? element('select') : plan({ action, target, values: args.values });
    case 'scroll':
      return plan({ action, pixels: Math.min(Math.max(args.pixels ?? 600, -pixelsMax), pixelsMax), ...onElement });
    case 'evaluate':
      if (args.script === undefined) return missing('evaluate', 'script');
      return plan({ action, script: args.script, charsMax: outputCharactersMax });
    case 'tabs':
      if (args.tab === undefined) return args.close === true ? missing('tabs with close', 'tab') : plan({ action });
      return plan({ action: args.close === true ? 'close' : 'switch', tab: args.tab });
    case 'back':
      return plan({ action }, navigateMs);
    case 'wait': {
      const seconds = args.seconds ?? (text === undefined ? 1 : 10);
      const waitMs = Math.min(Math.max(Math.round(seconds * secondMs), waitMsMin), waitMsMax);
      return plan({ action, waitMs, ...(text === undefined ? {} : { text }) }, waitMs + actionMs);
    }
    case 'download':
      return plan({ action, ...onElement }, downloadMs);
    case 'upload':
      if (args.path === undefined) return missing('upload', 'path');
      return target === undefined ? element('upload') : plan({ action, target, path: file });
  }
}

/** How the arguments call the element they are about. */
export function targetOf({ ref, role, name, css }: BrowserArguments): ElementTarget | undefined {
  if (ref !== undefined) return { ref };
  if (css !== undefined) return { css };
  if (role === undefined && name === undefined) return undefined;
  return { ...(role === undefined ? {} : { role }), ...(name === undefined ? {} : { name }) };
}

function plan(command: DriverCommand, timeoutMs = actionMs): PlannedCommand {
  return { command, timeoutMs };
}

function missing(action: string, field: string): string {
  return `${action} needs ${field}.`;
}

function element(action: string): string {
  return `${action} needs an element: ref from the last read, role and name, or css.`;
}
