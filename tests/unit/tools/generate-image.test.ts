import { expect, test } from 'vitest';
import { modelRef } from '#core/models/model-ref.ts';
import { toolContext } from '#tests/support/tool-context.ts';
import { type GenerateImageDeps, generateImageTool } from '#workers/tools/generate-image.ts';

const args = { prompt: 'a red square', path: 'art/square.png' };
const never = async () => await Promise.reject(new Error('not expected'));
const model = { ref: modelRef('openai', 'gpt-image-1'), port: { draw: never }, priceMicros: undefined };
const toolWith = (imageModel: GenerateImageDeps['imageModel']) =>
  generateImageTool({ imageModel } as GenerateImageDeps);

test('nothing is drawn without a model, or with one that nobody knows the price of', async () => {
  await expect(toolWith(undefined).run(args, toolContext({}))).rejects.toMatchObject({
    code: 'model.unknown',
    mend: expect.stringContaining('models.images'),
  });
  await expect(toolWith(model).run(args, toolContext({}))).rejects.toMatchObject({ code: 'model.unpriced' });
});

test('the claim names the model, its price and the file it writes', () => {
  expect(toolWith({ ...model, priceMicros: 40_000n }).claim(args)).toMatchObject({
    action: 'image.generate',
    resource: 'openai:gpt-image-1',
    also: [{ action: 'file.write', resource: 'art/square.png' }],
    costMicros: 40_000n,
    summary: 'Draw art/square.png\na red square',
  });
});

test('only a path that ends as a picture does is taken', () => {
  const { parameters } = toolWith(model);
  expect(parameters.safeParse({ ...args, path: '.bashrc' }).success).toBe(false);
  expect(parameters.safeParse(args).success).toBe(true);
});
