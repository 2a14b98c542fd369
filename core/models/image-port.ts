import type { Usage } from './model-port.ts';

/** The shapes image models draw in, in pixels as their endpoints write it. */
export const imageSizes = { square: '1024x1024', landscape: '1536x1024', portrait: '1024x1536' } as const;

type ImageShape = keyof typeof imageSizes;

/** What came of a call. */
interface Drawn {
  readonly bytes: Buffer;
  /** What the vendor says it took; undefined when it says nothing. */
  readonly usage: Usage | undefined;
}

/** Draws pictures. An implementation makes one attempt and never retries: each may be charged. */
export interface ImagePort {
  /** @throws ModelError. */
  draw(request: { readonly prompt: string; readonly shape: ImageShape }, signal: AbortSignal): Promise<Drawn>;
}
