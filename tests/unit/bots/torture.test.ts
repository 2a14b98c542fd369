import { describe, expect, it } from 'vitest';
import { healMarkdown } from '#bots/markdown/heal-markdown.ts';
import { renderStyled } from '#bots/markdown/render-styled.ts';
import { splitStyled } from '#bots/markdown/split-styled.ts';

const parts = (markdown: string, textMax: number) => splitStyled(renderStyled(markdown).blocks, textMax);
const fence = '```';

describe('what models write and platforms choke on', () => {
  it('a fence of four backticks holds one of three, also over a cut', () => {
    const source = `\`\`\`\`md\n${fence}ts\n${'const a = 1;\n'.repeat(12)}${fence}\n\`\`\`\``;
    const [whole] = renderStyled(source).blocks;
    expect(whole?.spans).toEqual([{ style: 'pre', language: 'md', offset: 0, length: whole?.text.length }]);
    expect(whole?.text).toContain(fence);
    const pieces = parts(source, 80);
    expect(pieces.length).toBeGreaterThan(1);
    for (const { text, spans } of pieces) {
      expect(spans).toEqual([{ style: 'pre', language: 'md', offset: 0, length: text.length }]);
    }
  });

  it('a fence in a list in a quote stays code', () => {
    const [block] = renderStyled(`> - step\n>   ${fence}sh\n>   rm -rf build\n>   ${fence}`).blocks;
    expect(block?.text).toContain('rm -rf build');
    expect(block?.spans.some((span) => span.style === 'pre')).toBe(true);
  });

  it('a fence that is never closed is code to the end', () => {
    const [block] = renderStyled(`${fence}py\nprint(1)\n**not bold**`).blocks;
    expect(block?.text).toBe('print(1)\n**not bold**');
  });

  it('a table that is too wide keeps every cell, and one that is too long its header', () => {
    const wide = `|${Array.from({ length: 30 }, (_, column) => `column ${column}`).join('|')}|\n|${'-|'.repeat(30)}\n|${Array.from({ length: 30 }, (_, column) => `value ${column}`).join('|')}|`;
    const text = parts(wide, 4096)
      .map((part) => part.text)
      .join('\n');
    for (let column = 0; column < 30; column += 1) expect(text).toContain(`value ${column}`);
    const long = `|id|name|\n|-|-|\n${Array.from({ length: 200 }, (_, row) => `|${row}|name ${row}|`).join('\n')}`;
    for (const part of parts(long, 1000)) expect(part.text).toMatch(/^id +\| name/);
  });

  it('joined emoji, flags and accents stay whole at every possible cut', () => {
    const graphemes = ['👩‍👩‍👧‍👦', '🏳️‍🌈', '🇩🇪', '👍🏽', 'é', 'ก็', '각'];
    const text = Array.from({ length: 60 }, (_, index) => graphemes[index % graphemes.length]).join('');
    const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' });
    const wanted = [...segmenter.segment(text)].map(({ segment }) => segment);
    for (let textMax = 15; textMax < 40; textMax += 1) {
      const got = parts(text, textMax).flatMap((part) =>
        [...segmenter.segment(part.text)].map(({ segment }) => segment),
      );
      expect(got).toEqual(wanted);
    }
  });

  it('Chinese without a space is cut between characters and keeps all of them', () => {
    const text = '漢字仮名交じり文。'.repeat(50);
    const pieces = parts(text, 100);
    expect(pieces.map((part) => part.text).join('')).toBe(text);
    for (const part of pieces) expect(part.text.length).toBeLessThanOrEqual(100);
  });

  it('right-to-left text keeps its words and its styles, and a direction override shows', () => {
    const [block] = renderStyled('**שלום** עולם, مرحبا `קוד`').blocks;
    expect(block?.text).toBe('שלום עולם, مرحبا קוד');
    expect(block?.spans.map((span) => span.style)).toEqual(['bold', 'code']);
    expect(renderStyled('run \u202egnp.exe').blocks[0]?.text).toBe('run \ufffdgnp.exe');
  });

  it('a link to a person or a program is words only', () => {
    for (const href of [
      'tg://user?id=1',
      'slack://user',
      'javascript:alert(1)',
      'discord://-/users/1',
      'file:///etc',
    ]) {
      const [block] = renderStyled(`[click](${href})`).blocks;
      expect(block?.text).toBe('click');
      expect(block?.spans).toEqual([]);
    }
  });

  it('a half-written answer never shows a marker, wherever it breaks off', () => {
    const answer = `# Title\n\n1. **bold _both_** [link](https://a.b/c_d)\n2. ~~old~~\n\n| a | b |\n|---|---|\n| \`x\` | y |\n\n\`\`\`\`md\n${fence}\ncode\n${fence}\n\`\`\`\`\n\nשלום **עולם** 👩‍👩‍👧‍👦 end`;
    for (let length = 0; length <= answer.length; length += 1) {
      const healed = healMarkdown(answer.slice(0, length));
      const blocks = renderStyled(healed).blocks.filter((block) => block.kind === 'text');
      for (const { text } of blocks) expect(text).not.toMatch(/\*\*|\]\(|~~/);
    }
  });
});
