import { z } from 'zod';

const metadataSchema = z.object({ room: z.string() });

/** The direct-message room a home page belongs to: what is pressed there is answered there. */
export function homeRoomOf(metadata: string | undefined): string | undefined {
  try {
    return metadata === undefined ? undefined : metadataSchema.safeParse(JSON.parse(metadata)).data?.room;
  } catch {
    return undefined;
  }
}

/** A home page; a view has at most 100 blocks. */
export function homeView(room: string, blocks: readonly unknown[]): Record<string, unknown> {
  return {
    type: 'home',
    private_metadata: JSON.stringify({ room } satisfies z.infer<typeof metadataSchema>),
    blocks: blocks.slice(0, 100),
  };
}
