import { describe, expect, it } from 'vitest';
import { fitBody } from '#bots/hosted/fit-body.ts';

const textMax = 100_000;

describe('a long body', () => {
  it('up to the limit is left alone', () => {
    const body = { parts: [{ type: 'markdown' as const, markdown: 'x'.repeat(textMax) }] };
    expect(fitBody(body, textMax)).toBe(body);
  });

  it('over the limit shows its beginning, closes its code block and keeps the whole as a file', () => {
    const markdown = `Intro\n\n\`\`\`ts\n${'const x = 1;\n'.repeat(10_000)}\`\`\``;
    const { parts } = fitBody({ parts: [{ type: 'markdown', markdown }] }, textMax);
    expect(parts.map(({ type }) => type)).toEqual(['markdown', 'notice', 'file']);
    const [head, , file] = parts;
    expect(head?.type === 'markdown' && head.markdown.endsWith('\n```')).toBe(true);
    expect(file?.type === 'file' && Buffer.from(file.dataBase64, 'base64').toString()).toBe(markdown);
  });
});
