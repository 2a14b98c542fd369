import { expect, test } from 'vitest';
import { renderBody as forDiscord } from '#bots/discord/render-body.ts';
import { healMarkdown } from '#bots/markdown/heal-markdown.ts';
import { renderNodes } from '#bots/markdown/render-nodes.ts';
import { renderBody as forSlack } from '#bots/slack/render-body.ts';
import { renderBody as forTelegram } from '#bots/telegram/render-body.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import { cpuMs } from '#tests/support/cpu-ms.ts';

const length = 100_000;

/** What makes careless patterns slow: long runs of what could be the beginning of something. */
const runs = {
  spaces: `a${' '.repeat(length)}b`,
  tabs: `${'\t'.repeat(length)}x`,
  newlines: `${'\n'.repeat(length)}x`,
  dots: `${'.'.repeat(length)}x`,
  backticks: '`'.repeat(length),
  stars: '*'.repeat(length),
  brackets: '['.repeat(length),
  halfLinks: '[a]('.repeat(length / 4),
  pipes: `${'|a'.repeat(length / 2)}\n|-`,
  quotes: '> '.repeat(length / 2),
  angles: '<a '.repeat(length / 3),
  ats: '@'.repeat(length),
};

const renderers: Readonly<Record<string, (body: OutboundBody) => unknown>> = {
  discord: (body) => forDiscord(body),
  slack: (body) => forSlack(body, { isPlain: false }),
  'slack, plain': (body) => forSlack(body, { isPlain: true }),
  telegram: (body) => forTelegram(body, { shieldMentions: true }),
  'telegram, rich': (body) => forTelegram(body, { shieldMentions: true, mayBeRich: true }),
};

test.each(Object.entries(runs))(
  'a text of %s takes no renderer long, in prose, code, notices and fields',
  (_name, run) => {
    for (const [name, render] of Object.entries(renderers)) {
      const bodies: readonly OutboundBody[] = [
        { parts: [{ type: 'markdown', markdown: run }] },
        { parts: [{ type: 'markdown', markdown: `\`\`\`\n${run}\n\`\`\`` }] },
        { parts: [{ type: 'code', text: run }] },
        { parts: [{ type: 'notice', level: 'warn', markdown: run }] },
        { parts: [{ type: 'fields', fields: [['a', run]] }] },
      ];
      for (const body of bodies) {
        expect(
          cpuMs(() => render(body)),
          `${name}: ${body.parts[0]?.type}`,
        ).toBeLessThan(3_000);
      }
    }
    expect(cpuMs(() => renderNodes(healMarkdown(run)))).toBeLessThan(3_000);
  },
  180_000,
);
