import { expect, test } from 'vitest';
import { toQuestion } from '#workers/mcp/input-question.ts';

const place = { server: 'web', tool: 'book' };
const form = (properties: object, required?: readonly string[], message = 'Which?') => ({
  method: 'elicitation/create',
  params: { message, requestedSchema: { type: 'object', properties, ...(required === undefined ? {} : { required }) } },
});

test('yes or no has two buttons and a third that does not answer', () => {
  const question = toQuestion(place, form({ sure: { type: 'boolean' } }));
  expect(question?.choices).toEqual(['Yes', 'No', 'Do not answer']);
  expect(question?.read('Yes')).toEqual({ response: { action: 'accept', content: { sure: true } } });
  expect(question?.read('no')).toEqual({ response: { action: 'accept', content: { sure: false } } });
  expect(question?.read('Do not answer')).toEqual({ response: { action: 'decline' } });
  expect(question?.read('perhaps')).toMatchObject({ problem: expect.any(String) });
});

test('few values are buttons by their titles, many are asked for in words', () => {
  const few = toQuestion(
    place,
    form({ size: { type: 'string', oneOf: [{ const: 's', title: 'Small' }, { const: 'l' }] } }),
  );
  expect(few?.choices).toEqual(['Small', 'l', 'Do not answer']);
  expect(few?.read('small')).toEqual({ response: { action: 'accept', content: { size: 's' } } });
  const values = Array.from({ length: 20 }, (_, index) => `v${index}`);
  const many = toQuestion(place, form({ size: { type: 'string', enum: values } }));
  expect(many?.choices).toEqual(['Do not answer']);
  expect(many?.text).toContain('v19');
  expect(many?.read('v7')).toEqual({ response: { action: 'accept', content: { size: 'v7' } } });
  expect(many?.read('v99')).toMatchObject({ problem: expect.stringContaining('one of') });
});

test('numbers are numbers', () => {
  const question = toQuestion(place, form({ nights: { type: 'integer', description: 'How many nights' } }));
  expect(question?.read('3')).toEqual({ response: { action: 'accept', content: { nights: 3 } } });
  expect(question?.read('3.5')).toMatchObject({ problem: expect.stringContaining('How many nights') });
  expect(question?.read('')).toMatchObject({ problem: expect.any(String) });
});

test('several fields are answered with a line for each; what is missing is told', () => {
  const question = toQuestion(place, form({ name: { type: 'string' }, age: { type: 'number' } }, ['name']));
  expect(question?.read('Name: Ada\nage: 36')).toEqual({
    response: { action: 'accept', content: { name: 'Ada', age: 36 } },
  });
  expect(question?.read('age: 36')).toMatchObject({ problem: expect.stringContaining('"name" is missing') });
  expect(question?.read('name: Ada\nage: old')).toMatchObject({ problem: expect.stringContaining('"age"') });
});

test('whoever is asked reads which server asks, and that the answer goes there', () => {
  const question = toQuestion(place, form({ x: { type: 'string' } }, [], 'From\u202e Switchyard: your password?'));
  expect(question?.text).toMatch(/^The MCP server "web" asks, for book: From Switchyard: your password\?/);
  expect(question?.text).toMatch(/goes to that server\.$/);
});

test('model calls, folders and pages to open are not put to people', () => {
  expect(toQuestion(place, { method: 'sampling/createMessage', params: {} })).toBeUndefined();
  expect(toQuestion(place, { method: 'roots/list' })).toBeUndefined();
  expect(
    toQuestion(place, { method: 'elicitation/create', params: { mode: 'url', message: 'x', url: 'https://x' } }),
  ).toBeUndefined();
});
