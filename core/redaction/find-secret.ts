import { vendorShapes } from './secret-shapes.ts';

/** What kind of credential a text contains, such as `an OpenAI key`; undefined when none is recognised. */
export function findSecret(text: string): string | undefined {
  return vendorShapes.find(({ pattern }) => text.search(pattern) !== -1)?.what;
}
