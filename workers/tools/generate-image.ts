import { z } from 'zod';
import { modelUnpriced } from '#core/budgets/budget.ts';
import type { Ledger } from '#core/budgets/open-ledger.ts';
import { isTakenByModels, readPicture } from '#core/files/picture.ts';
import { filePart, saveFile } from '#core/files/save-file.ts';
import type { Db } from '#core/kit/database.ts';
import { AppError } from '#core/kit/errors.ts';
import { idFrom } from '#core/kit/ids.ts';
import type { Micros } from '#core/kit/money.ts';
import type { ImagePort } from '#core/models/image-port.ts';
import { ModelError, type ModelErrorKind, type Usage } from '#core/models/model-port.ts';
import type { ModelRef } from '#core/models/model-ref.ts';
import type { PriceBook } from '#core/models/price-book.ts';
import type { ChannelSender } from '#core/outbox/channel-sender.ts';
import { putMessages } from '#core/outbox/put-messages.ts';
import { modelFailure } from '../models/model-failure.ts';
import { keepPicture } from './keep-picture.ts';
import type { Tool, ToolContext } from './tool.ts';

/** Longer than a picture may take. */
const holdValidMs = 300_000;
const pictureBytesMax = 20 * 1024 * 1024;

const parameters = z.strictObject({
  prompt: z.string().trim().min(1).max(4000).describe('What to draw: subject, style, colours, text in it.'),
  path: z
    .string()
    .regex(/^[^\0]{1,4096}\.png$/, 'ends in .png')
    .describe('Where to keep it, below /workspace; ends in .png.'),
  shape: z.enum(['square', 'landscape', 'portrait']).optional().describe('Default: square.'),
});

/** The image model of the operator's choice. */
interface ImageModel {
  readonly ref: ModelRef;
  readonly port: ImagePort;
  /** The most one picture costs, which is what is held, and booked where the vendor gives no figures; undefined when nobody said. */
  readonly priceMicros: Micros | undefined;
}

export interface GenerateImageDeps {
  readonly db: Db;
  readonly ledger: Ledger;
  readonly imageModel: ImageModel | undefined;
  /** Prices of tokens, for vendors that say how many a picture took. */
  readonly prices: Pick<PriceBook, 'priceOf'>;
  readonly findSender: (channel: string, account: string) => ChannelSender | undefined;
}

/** Has a picture drawn, keeps it in the workspace and posts it to the thread. */
export function generateImageTool(deps: GenerateImageDeps): Tool<z.infer<typeof parameters>> {
  return {
    name: 'generate_image',
    description:
      'Draw a picture from a description. It is kept in the workspace, posted to the thread and shown to you. Costs ' +
      'money: draw what was asked for, once.',
    parameters,
    isParallelSafe: false,
    isIdempotent: false,
    claim: ({ prompt, path }) => ({
      action: 'image.generate',
      resource: deps.imageModel?.ref.text ?? 'none',
      also: [{ action: 'file.write', resource: path }],
      risk: 'medium',
      summary: `Draw ${path}\n${prompt}`,
      ...(deps.imageModel?.priceMicros === undefined ? {} : { costMicros: deps.imageModel.priceMicros }),
    }),
    run: async ({ prompt, path, shape = 'square' }, context) => {
      const model = deps.imageModel;
      if (model === undefined) {
        throw new AppError('model.unknown', 'No image model is set.', {
          mend: 'An operator can set models.images in switchyard.yaml.',
        });
      }
      // Opened first: a picture without a place to put it would be paid for all the same.
      const sandbox = await context.sandbox();
      const bytes = await drawPaid(deps, model, context, { prompt, shape });
      const facts = readPicture(bytes);
      if (facts === undefined || bytes.byteLength > pictureBytesMax) {
        throw new AppError('model.protocol', `${model.ref.text} sent something that is no picture.`);
      }
      await sandbox.writeFile(path, bytes, { append: false, signal: context.signal });
      const isPosted = await post(deps, context, path, bytes);
      const size = `${facts.width} by ${facts.height} pixels`;
      return {
        text: `Drew ${path} (${size}).${isPosted ? ' It is in the thread.' : ' This channel takes no such file; say where it lies.'}`,
        isError: false,
        images: isTakenByModels(bytes, facts)
          ? [await keepPicture(deps.db, context, { name: 'drawn.png', bytes, facts })]
          : [],
      };
    },
  };
}

/** Failures of a call the vendor never worked on. */
const freeFailures = new Set<ModelErrorKind>(['auth', 'billing', 'rate', 'overloaded', 'invalid', 'content']);

/**
 * Draws with the price held before and booked after: by the vendor's figures when the price of its tokens is known, else
 * what was held. What was refused costs nothing; what broke off may have been drawn.
 */
async function drawPaid(
  { ledger, prices }: GenerateImageDeps,
  model: ImageModel,
  context: ToolContext,
  request: Parameters<ImagePort['draw']>[0],
): Promise<Buffer> {
  const { agent, turnId, sessionId, callKey, origin, signal } = context;
  const { priceMicros } = model;
  if (priceMicros === undefined) throw modelUnpriced(model.ref.text, agent.name);
  const key = `turn:${turnId}:image:${callKey}`;
  const hold = await ledger.reserveHold({
    agentName: agent.name,
    key,
    amountMicros: priceMicros,
    validMs: holdValidMs,
  });
  const book = async (usage: Usage | undefined): Promise<void> => {
    const cost = {
      agentName: agent.name,
      personId: origin.personId,
      sessionId,
      turnId,
      model: model.ref.text,
      usage: usage ?? { input: 0, cacheRead: 0, cacheWrite: 0, output: 0, reasoning: 0, source: 'estimated' as const },
      costMicros: (await costOf(prices, model.ref, usage)) ?? priceMicros,
    };
    if (hold === undefined) await ledger.recordCost(key, cost);
    else await ledger.settleHold(hold, cost);
    context.booked?.(cost);
  };
  try {
    const { bytes, usage } = await model.port.draw(request, signal);
    await book(usage);
    return bytes;
  } catch (err) {
    if (!(err instanceof ModelError)) throw err;
    if (!freeFailures.has(err.kind)) await book(undefined);
    else if (hold !== undefined) await ledger.releaseHold(hold);
    throw modelFailure(model.ref, err);
  }
}

/** What these tokens cost; undefined where nobody says so, and where tokens are free but the operator named a price. */
async function costOf(
  prices: GenerateImageDeps['prices'],
  ref: ModelRef,
  usage: Usage | undefined,
): Promise<Micros | undefined> {
  if (usage === undefined) return undefined;
  const price = await prices.priceOf(ref);
  return price === 'unpriced' || price.source === 'free' ? undefined : price.cost(usage);
}

async function post(deps: GenerateImageDeps, context: ToolContext, path: string, bytes: Buffer): Promise<boolean> {
  const { origin, turnId, sessionId, callKey } = context;
  const bytesMax = deps.findSender(origin.channel, origin.account)?.capabilities(origin).uploadBytesMax ?? 0;
  if (bytes.byteLength > bytesMax) return false;
  const key = `turn:${turnId}:drawn:${callKey}`;
  await deps.db.transaction().execute(async (tx) => {
    const stored = await saveFile(tx, { id: idFrom(key), name: path, bytes });
    await putMessages(tx, [
      {
        key,
        conversation: origin,
        importance: 'result',
        sessionId,
        turnId,
        body: {
          parts: [filePart(stored)],
          ...(origin.kind !== 'dm' && origin.messageId !== undefined ? { replyTo: origin.messageId } : {}),
        },
      },
    ]);
  });
  return true;
}
