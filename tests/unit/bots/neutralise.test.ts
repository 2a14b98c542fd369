import fc from 'fast-check';
import { expect, test } from 'vitest';
import { neutralise } from '#bots/markdown/neutralise.ts';

const shown = (text: string) => text.replaceAll('\u2060', '');

test.each([
  '@everyone',
  'and @here, please',
  '@channel',
  '@some_name',
  '<!channel>',
  '<!here|here>',
  '<!subteam^S123>',
  '<@U123ABC>',
  '<@!123456>',
  '<@&987654>',
  '<#C123>',
])('%s rings for nobody and reads the same', (text) => {
  const safe = neutralise(text);
  expect(shown(safe)).toBe(text);
  expect(safe).not.toMatch(/@(?:everyone|here|channel|some_name)|<@[!&]?\w|<![a-z]|<#C/i);
});

test('a person that may be mentioned is, and nobody else', () => {
  expect(neutralise('<@U1> and <@U2> and <@U11>', ['U1'])).toBe('<@U1> and <\u2060@U2> and <\u2060@U11>');
});

test.each(['me@example.com', '1 < 2 and @ alone', 'a <b> c', 'x <- y'])('%s is left alone', (text) => {
  expect(neutralise(text)).toBe(text);
});

test('nothing that can be read is changed, and doing it twice adds nothing', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('<', '@', '!', '&', '#', 'U', '1', 'a', ' ', '>') }), (text) => {
      const once = neutralise(text);
      expect(shown(once)).toBe(text);
      expect(neutralise(once)).toBe(once);
    }),
  );
});
