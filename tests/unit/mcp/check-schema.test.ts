import { expect, test } from 'vitest';
import type { Json } from '#core/kit/json.ts';
import { checkSchema } from '#core/mcp/check-schema.ts';
import { cpuMs } from '#tests/support/cpu-ms.ts';

test.each<[string, Json, unknown, readonly string[]]>([
  ['a fitting object', { type: 'object', properties: { a: { type: 'string' } }, required: ['a'] }, { a: 'x' }, []],
  ['a missing value', { type: 'object', required: ['a'] }, {}, ['a is missing']],
  ['another type', { properties: { a: { type: ['string', 'null'] } } }, { a: 1 }, ['a must be string or null']],
  ['a whole number', { type: 'integer' }, 1.5, ['the value must be integer']],
  ['an unknown name', { additionalProperties: false, properties: { a: {} } }, { b: 1 }, ['b is not known']],
  ['names by a pattern', { additionalProperties: false, patternProperties: { '^x': {} } }, { y: 1 }, []],
  ['values', { enum: ['a', { b: 1 }] }, { b: 1 }, []],
  ['another value', { enum: ['a', 'b'] }, 'c', ['the value must be one of ["a","b"]']],
  ['bounds', { properties: { n: { minimum: 1, exclusiveMaximum: 3 } } }, { n: 3 }, ['n must be less than 3']],
  [
    'items',
    { items: { type: 'number' }, maxItems: 2 },
    [1, 'x', 3],
    ['the value must have at most 2 items', '[1] must be number'],
  ],
  ['a reference', { $ref: '#/$defs/a', $defs: { a: { type: 'string' } } }, 1, ['the value must be string']],
  ['a reference to elsewhere', { $ref: 'https://evil.example/schema.json' }, 1, []],
  ['one of two forms', { anyOf: [{ type: 'string' }, { type: 'number' }] }, true, ['the value fits none of its forms']],
  [
    'exactly one form',
    { oneOf: [{ type: 'number' }, { minimum: 1 }] },
    2,
    ['the value does not fit exactly one of its forms'],
  ],
  ['a forbidden form', { not: { type: 'string' } }, 'x', ['the value has a form that is not allowed']],
  [
    'a name every object inherits',
    { properties: {}, additionalProperties: { type: 'string' } },
    { constructor: 1 },
    ['constructor must be string'],
  ],
])('%s', (_name, schema, value, issues) => {
  expect(checkSchema(schema, value)).toEqual(issues);
});

test.each<[string, Json, unknown]>([
  ['a pattern that backtracks for ever', { type: 'string', pattern: '^(a+)+$' }, `${'a'.repeat(40)}!`],
  ['a schema that refers to itself', { anyOf: [{ $ref: '#' }, { $ref: '#' }] }, 1],
  [
    'forms that double with each level',
    {
      $ref: '#/$defs/l0',
      $defs: Object.fromEntries(
        Array.from({ length: 40 }, (_, level) => [
          `l${level}`,
          { oneOf: [{ $ref: `#/$defs/l${level + 1}` }, { $ref: `#/$defs/l${level + 1}` }] },
        ]),
      ),
    },
    1,
  ],
  ['unique items of a long list', { uniqueItems: true, items: {} }, Array.from({ length: 40_000 }, () => ({}))],
])('%s costs little', (_name, schema, value) => {
  expect(cpuMs(() => expect(checkSchema(schema, value)).toEqual([]))).toBeLessThan(1_000);
});
