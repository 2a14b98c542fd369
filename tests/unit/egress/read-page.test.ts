import { expect, test } from 'vitest';
import { htmlToText, titleOf } from '#workers/egress/html-to-text.ts';
import { readPage } from '#workers/egress/read-page.ts';

const many = (count: number, text: string) => text.repeat(count);

const hostile: readonly (readonly [string, string])[] = [
  ['nested blocks', `${many(50_000, '<div>')}needle`],
  ['nested lists', `${many(20_000, '<ul><li>')}needle`],
  ['nested inline elements', `${many(50_000, '<b><i>')}needle`],
  ['nested tables', `${many(5_000, '<table><tr><td>')}needle`],
  ['elements side by side', `${many(120_000, '<p>x</p>')}needle`],
  ['attributes', `<p ${many(100_000, 'a="b" ')}>needle</p>`],
  ['one giant attribute', `<p title="${many(1_000_000, 'x')}">needle</p>`],
  ['links', `${many(30_000, '<a href="/x">y</a> ')}needle`],
  ['unclosed comments', `needle${many(10_000, '<!--')}`],
  ['unclosed tags', `needle ${many(100_000, '<')}`],
  ['entities', `needle ${many(100_000, '&amp;&#x1F600;&#0;&#xD800;&bogus;')}`],
  ['markup to be escaped', `<p>needle ${many(100_000, '*_`[')}</p>`],
  [
    'formatting',
    `<article>${many(3_000, '<p><b>bold</b> and <code>code</code> and words, words, words.</p>')}needle</article>`,
  ],
];

test.each(hostile)(
  'a page of %s is read, or told as plain text, in bounded time',
  async (_what, html) => {
    const startedAt = performance.now();
    const { text } = await readPage(
      `<html><head><title>T</title></head><body>${html}</body></html>`,
      'https://a.test/',
    );
    expect(performance.now() - startedAt).toBeLessThan(45_000);
    expect(text.includes('needle')).toBe(true);
  },
  60_000,
);

test('what a page would run or hide is not read, and links are whole', async () => {
  const words = many(30, 'Words of an article that go on. ');
  const { text, title } = await readPage(
    `<html><head><title>A &amp; B</title></head><body><article><p>${words}<a href="../up">up</a><a href="javascript:x()">run</a></p>` +
      '<script>bad()</script><style>p{}</style><p hidden>hidden one</p><p style="visibility: hidden">hidden two</p></article></body></html>',
    'https://a.test/b/c',
  );
  expect(title).toBe('A & B');
  expect(text).toContain('[up](https://a.test/up)');
  for (const gone of ['bad()', 'p{}', 'hidden', 'javascript']) expect(text).not.toContain(gone);
});

test('the plain walk keeps words, breaks blocks and drops scripts', () => {
  const html =
    '<h1>One</h1><p>two <b>three</b>&nbsp;&lt;four&gt; 1 < 2</p><script>no</script><ul><li>five<li>six</ul><!-- no -->';
  expect(htmlToText(html)).toBe('One\n\ntwo three <four> 1 < 2\n\nfive\nsix');
  expect(titleOf('<title lang="x">Café &#8211; menu</title>')).toBe('Café – menu');
  expect(titleOf('<p>none</p>')).toBeUndefined();
});
