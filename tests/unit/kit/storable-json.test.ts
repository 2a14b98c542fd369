import { expect, test } from 'vitest';
import { storableJson } from '#core/kit/storable-json.ts';

test('NUL and lone surrogates are taken from texts and keys, bigint becomes text, undefined is left out', () => {
  expect(storableJson({ 'a\u0000': ['x\u0000y', '\ud800'], n: 12n, no: undefined, d: new Date(0) })).toEqual({
    a: ['xy', '\ufffd'],
    n: '12',
    d: '1970-01-01T00:00:00.000Z',
  });
});
