import { z } from 'zod';
import type { Json } from '#core/kit/json.ts';
import { visibleText } from '#core/mcp/tool-pin.ts';
import { choiceCharsMax, choicesMax } from '#core/questions/question.ts';

const decline = 'Do not answer';

const fieldSchema = z.looseObject({
  type: z.enum(['string', 'number', 'integer', 'boolean', 'array']).optional(),
  title: z.string().optional(),
  description: z.string().optional(),
  enum: z.array(z.string()).optional(),
  enumNames: z.array(z.string()).optional(),
  oneOf: z.array(z.looseObject({ const: z.string(), title: z.string().optional() })).optional(),
});

const elicitSchema = z.looseObject({
  method: z.literal('elicitation/create'),
  params: z.looseObject({
    mode: z.literal('form').optional(),
    message: z.string(),
    requestedSchema: z.looseObject({
      properties: z.record(z.string(), fieldSchema),
      required: z.array(z.string()).optional(),
    }),
  }),
});

type Field = z.infer<typeof fieldSchema>;

/** What a person is asked on behalf of a server, and how their words become the server's answer. */
export interface InputQuestion {
  readonly text: string;
  readonly choices: readonly string[];
  /** @returns the answer, or what is wrong with the words. */
  read(words: string): { readonly response: Json } | { readonly problem: string };
}

/** What a server is told when a person does not answer, or when it asks for what people are not asked. */
export const cancelled: Json = { action: 'cancel' };

/**
 * A server's request for input as a question to a person.
 * @returns undefined for what no person is asked: a model call, a list of folders, a page to be opened.
 */
export function toQuestion(
  place: { readonly server: string; readonly tool: string },
  request: unknown,
): InputQuestion | undefined {
  const parsed = elicitSchema.safeParse(request);
  if (!parsed.success) return undefined;
  const { message, requestedSchema } = parsed.data.params;
  const fields = Object.entries(requestedSchema.properties);
  const required = new Set(requestedSchema.required ?? []);
  // Whoever answers must know that an outside server reads it.
  const head = `The MCP server "${place.server}" asks, for ${place.tool}: ${visibleText(message).slice(0, 1_500)}`;
  const warning = 'What you answer goes to that server.';
  const [only] = fields;
  if (only === undefined || fields.length > 1) {
    const lines = fields.map(([name, field]) => `${name}${required.has(name) ? '' : ' (optional)'}: ${hintOf(field)}`);
    const text = [
      head,
      ...(lines.length === 0 ? [] : ['Answer with one line for each, such as `name: value`:', ...lines]),
      warning,
    ].join('\n');
    return {
      text,
      choices: lines.length === 0 ? ['Go on', decline] : [decline],
      read: (words) => (isDecline(words) ? declined : readLines(words, fields, required)),
    };
  }
  const [name, field] = only;
  const options = optionsOf(field);
  return {
    text: [head, ...(options === undefined ? [hintOf(field)] : []), warning].filter((line) => line !== '').join('\n'),
    choices: [...(options?.map(({ label }) => label) ?? []), decline],
    read: (words) => {
      if (isDecline(words)) return declined;
      const value = readValue(words, field);
      return value === undefined ? { problem: `This needs ${hintOf(field)}.` } : accepted({ [name]: value });
    },
  };
}

const declined: { readonly response: Json } = { response: { action: 'decline' } };

function accepted(content: Record<string, Json>): { readonly response: Json } {
  return { response: { action: 'accept', content } };
}

function isDecline(words: string): boolean {
  return words.trim().toLowerCase() === decline.toLowerCase();
}

/** The buttons of a field that has few values; undefined when it is answered in words. */
function optionsOf(field: Field): readonly { readonly label: string; readonly value: Json }[] | undefined {
  if (field.type === 'boolean') {
    return [
      { label: 'Yes', value: true },
      { label: 'No', value: false },
    ];
  }
  const values = valuesOf(field);
  const fits = values.length > 0 && values.length < choicesMax;
  return fits && new Set(values.map(({ label }) => label)).size === values.length ? values : undefined;
}

function valuesOf(field: Field): { label: string; value: string }[] {
  const named = field.oneOf?.map((item) => ({ label: item.title ?? item.const, value: item.const }));
  const listed = (field.enum ?? []).map((value, index) => ({ label: field.enumNames?.[index] ?? value, value }));
  return (named ?? listed).map(({ label, value }) => ({ label: visibleText(label).slice(0, choiceCharsMax), value }));
}

function hintOf(field: Field): string {
  const values = valuesOf(field).map(({ label }) => label);
  const what = visibleText(field.description ?? field.title ?? '').slice(0, 300);
  const kind =
    values.length > 0
      ? `one of ${values.join(', ')}`
      : field.type === 'boolean'
        ? 'yes or no'
        : field.type === 'number' || field.type === 'integer'
          ? 'a number'
          : field.type === 'array'
            ? 'values with commas between them'
            : 'a text';
  return what === '' ? kind : `${what} (${kind})`;
}

function readValue(words: string, field: Field): Json | undefined {
  const text = words.trim();
  switch (field.type) {
    case 'boolean':
      if (/^(?:y|yes|true|ja|ok)$/i.test(text)) return true;
      return /^(?:n|no|false|nein)$/i.test(text) ? false : undefined;
    case 'number':
    case 'integer': {
      const number = Number(text);
      if (text === '' || !Number.isFinite(number)) return undefined;
      return field.type === 'integer' && !Number.isInteger(number) ? undefined : number;
    }
    case 'array':
      return text
        .split(',')
        .map((item) => item.trim())
        .filter((item) => item !== '');
    case 'string':
    case undefined: {
      const values = valuesOf(field);
      if (values.length === 0) return text;
      return values.find(({ label, value }) => [label, value].some((item) => item.toLowerCase() === text.toLowerCase()))
        ?.value;
    }
  }
}

function readLines(
  words: string,
  fields: readonly (readonly [string, Field])[],
  required: ReadonlySet<string>,
): { readonly response: Json } | { readonly problem: string } {
  const given = new Map<string, string>();
  for (const line of words.split('\n')) {
    const found = /^\s*([^:]+?)\s*:\s*(.*)$/.exec(line);
    if (found?.[1] !== undefined && found[2] !== undefined) given.set(found[1].toLowerCase(), found[2]);
  }
  const content: Record<string, Json> = {};
  for (const [name, field] of fields) {
    const text = given.get(name.toLowerCase());
    if (text === undefined || text === '') {
      if (required.has(name)) return { problem: `"${name}" is missing; write a line such as \`${name}: value\`.` };
      continue;
    }
    const value = readValue(text, field);
    if (value === undefined) return { problem: `"${name}" needs ${hintOf(field)}.` };
    content[name] = value;
  }
  return accepted(content);
}
