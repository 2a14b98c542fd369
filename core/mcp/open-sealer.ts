import { randomBytes } from 'node:crypto';
import { AppError } from '../kit/errors.ts';
import { closeBox, keyBytes, openBox } from '../vault/aes-box.ts';
import type { KekSource } from '../vault/kek-source.ts';
import type { Sealer } from './sealer.ts';

/**
 * Seals as the vault does: each text under a fresh key, which the master key wraps. The scope is bound to both, so that
 * a row put in the place of another one does not open.
 */
export function openSealer(kek: KekSource): Sealer {
  return {
    seal: async (scope, text) => {
      const key = randomBytes(keyBytes);
      try {
        const kekId = await kek.id();
        const wrapped = await kek.wrap(kekId, key, context('key', scope));
        const sealed = closeBox(key, Buffer.from(text, 'utf8'), context('text', scope));
        return [kekId, wrapped.toString('base64'), sealed.toString('base64')].join(' ');
      } finally {
        key.fill(0);
      }
    },
    open: async (scope, sealed) => {
      const [kekId = '', wrapped = '', box = ''] = sealed.split(' ');
      const key = await kek.unwrap(kekId, Buffer.from(wrapped, 'base64'), context('key', scope));
      try {
        const text =
          key.length === keyBytes ? openBox(key, Buffer.from(box, 'base64'), context('text', scope)) : undefined;
        if (text === undefined) throw new AppError('vault.tampered', 'A sealed login is not as it was sealed.');
        return text.toString('utf8');
      } finally {
        key.fill(0);
      }
    },
  };
}

/** The same text under the master key that wraps now. @throws AppError `vault.tampered`, `vault.unavailable` */
export async function rewrapSealed(kek: KekSource, scope: string, sealed: string): Promise<string> {
  const [kekId = '', wrapped = '', box = ''] = sealed.split(' ');
  const key = await kek.unwrap(kekId, Buffer.from(wrapped, 'base64'), context('key', scope));
  try {
    const newId = await kek.id();
    const rewrapped = await kek.wrap(newId, key, context('key', scope));
    return [newId, rewrapped.toString('base64'), box].join(' ');
  } finally {
    key.fill(0);
  }
}

function context(what: 'key' | 'text', scope: string): Buffer {
  return Buffer.from(JSON.stringify(['switchyard mcp 1', what, scope]));
}
