import type { Json } from '../kit/json.ts';

/** Steps one check may take. A schema of a stranger can be written so that a check takes for ever. */
const stepsMax = 50_000;
const depthMax = 64;
const issuesMax = 5;

type Schema = Json | undefined;
type Fields = Readonly<Record<string, Json>>;

interface Run {
  readonly root: Json;
  steps: number;
  readonly issues: string[];
}

class TooComplicated extends Error {}

/**
 * Checks a value against the JSON Schema of a server. Knows types, values, bounds, objects, arrays, combinations and
 * references within the schema; passes over `pattern`, `format` and `uniqueItems`, whose checks a stranger can make
 * take for ever, and over what it does not know. A schema that is too complicated to be checked is taken as fulfilled:
 * the server checks its arguments itself.
 *
 * @returns what is wrong, at most five sentences; empty when nothing is.
 */
export function checkSchema(schema: Json, value: unknown): readonly string[] {
  const run: Run = { root: schema, steps: 0, issues: [] };
  try {
    check(run, schema, value, '', 0);
  } catch (err) {
    if (!(err instanceof TooComplicated)) throw err;
    return [];
  }
  return run.issues.slice(0, issuesMax);
}

function check(run: Run, schema: Schema, value: unknown, path: string, depth: number): void {
  run.steps += 1;
  if (run.steps > stepsMax || depth > depthMax) throw new TooComplicated();
  const fields = fieldsOf(schema);
  const mismatch = schema === false ? 'is not allowed' : fields === undefined ? undefined : mismatchOf(fields, value);
  if (mismatch !== undefined) add(run, path, mismatch);
  if (mismatch !== undefined || fields === undefined) return;
  if (typeof value === 'number') checkNumber(run, fields, value, path);
  if (typeof value === 'string') checkSize(run, fields, value.length, ['minLength', 'maxLength'], 'characters', path);
  if (Array.isArray(value)) checkArray(run, fields, value, path, depth);
  else if (isObject(value)) checkObject(run, fields, value, path, depth);
  checkCombinations(run, fields, value, path, depth);
}

/** Why the value is not what it has to be as a whole. */
function mismatchOf(fields: Fields, value: unknown): string | undefined {
  const types = listOf(fields['type']).filter((type) => typeof type === 'string');
  if (types.length > 0 && !types.some((type) => isType(type, value))) return `must be ${types.join(' or ')}`;
  const { enum: values, const: only } = fields;
  if (Array.isArray(values) && !values.some((item) => isSame(item, value))) {
    return `must be one of ${JSON.stringify(values).slice(0, 300)}`;
  }
  return only !== undefined && !isSame(only, value) ? `must be ${JSON.stringify(only).slice(0, 300)}` : undefined;
}

function checkNumber(run: Run, fields: Fields, value: number, path: string): void {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = fields;
  if (typeof minimum === 'number' && value < minimum) add(run, path, `must be at least ${minimum}`);
  if (typeof maximum === 'number' && value > maximum) add(run, path, `must be at most ${maximum}`);
  if (typeof exclusiveMinimum === 'number' && value <= exclusiveMinimum)
    add(run, path, `must be more than ${exclusiveMinimum}`);
  if (typeof exclusiveMaximum === 'number' && value >= exclusiveMaximum)
    add(run, path, `must be less than ${exclusiveMaximum}`);
}

function checkSize(
  run: Run,
  fields: Fields,
  size: number,
  [min, max]: readonly [string, string],
  what: string,
  path: string,
): void {
  const [low, high] = [fields[min], fields[max]];
  if (typeof low === 'number' && size < low) add(run, path, `must have at least ${low} ${what}`);
  if (typeof high === 'number' && size > high) add(run, path, `must have at most ${high} ${what}`);
}

function checkArray(run: Run, fields: Fields, value: readonly unknown[], path: string, depth: number): void {
  checkSize(run, fields, value.length, ['minItems', 'maxItems'], 'items', path);
  const first = Array.isArray(fields['prefixItems']) ? fields['prefixItems'] : [];
  value.forEach((item, index) => {
    const schema = first[index] ?? fields['items'];
    if (schema !== undefined && !Array.isArray(schema)) check(run, schema, item, `${path}[${index}]`, depth + 1);
  });
}

function checkObject(run: Run, fields: Fields, value: object, path: string, depth: number): void {
  const properties = fieldsOf(fields['properties']) ?? {};
  const additional = fields['additionalProperties'];
  for (const name of listOf(fields['required'])) {
    if (typeof name === 'string' && !Object.hasOwn(value, name)) add(run, placeOf(path, name), 'is missing');
  }
  for (const [name, item] of Object.entries(value)) {
    if (item === undefined) continue;
    const known = Object.hasOwn(properties, name) ? properties[name] : undefined;
    if (known !== undefined) check(run, known, item, placeOf(path, name), depth + 1);
    // Names that a pattern allows are not told apart from others.
    else if (additional !== undefined && fields['patternProperties'] === undefined) {
      if (additional === false) add(run, placeOf(path, name), 'is not known');
      else check(run, additional, item, placeOf(path, name), depth + 1);
    }
  }
}

function checkCombinations(run: Run, fields: Fields, value: unknown, path: string, depth: number): void {
  const { $ref: reference, allOf, anyOf, oneOf, not } = fields;
  const fits = (schema: Schema): boolean => {
    const inner: Run = { root: run.root, steps: run.steps, issues: [] };
    check(inner, schema, value, path, depth + 1);
    run.steps = inner.steps;
    return inner.issues.length === 0;
  };
  if (typeof reference === 'string') check(run, resolve(run.root, reference), value, path, depth + 1);
  if (Array.isArray(allOf)) for (const schema of allOf) check(run, schema, value, path, depth + 1);
  if (Array.isArray(anyOf) && anyOf.length > 0 && !anyOf.some(fits)) add(run, path, 'fits none of its forms');
  if (Array.isArray(oneOf) && oneOf.length > 0 && oneOf.filter(fits).length !== 1) {
    add(run, path, 'does not fit exactly one of its forms');
  }
  if (not !== undefined && fits(not)) add(run, path, 'has a form that is not allowed');
}

/** A place within the schema; undefined, which allows all, for an address of somewhere else. */
function resolve(root: Json, reference: string): Schema {
  if (reference === '#') return root;
  if (!reference.startsWith('#/')) return undefined;
  let at: Schema = root;
  for (const step of reference.slice(2).split('/')) {
    const name = step.replaceAll('~1', '/').replaceAll('~0', '~');
    const fields: Fields | undefined = fieldsOf(at);
    at = fields !== undefined && Object.hasOwn(fields, name) ? fields[name] : undefined;
  }
  return at;
}

function fieldsOf(value: Schema): Fields | undefined {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? value : undefined;
}

function isObject(value: unknown): value is object {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

function listOf(value: Schema): readonly Json[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

function isType(type: string, value: unknown): boolean {
  switch (type) {
    case 'null':
      return value === null;
    case 'array':
      return Array.isArray(value);
    case 'object':
      return isObject(value);
    case 'integer':
      return Number.isInteger(value);
    case 'string':
    case 'boolean':
    case 'number':
      return typeof value === type;
    default:
      return true;
  }
}

function isSame(one: Json, other: unknown): boolean {
  return one === other || (typeof one === 'object' && JSON.stringify(one) === JSON.stringify(other));
}

function placeOf(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}

function add(run: Run, path: string, problem: string): void {
  run.issues.push(`${path === '' ? 'the value' : path.slice(0, 200)} ${problem}`);
}
