import { openCommandKek } from '#core/vault/command-kek.ts';
import { openFileKek } from '#core/vault/file-kek.ts';
import type { KekSource } from '#core/vault/kek-source.ts';
import type { Config } from './config.ts';

/** Below the 15 seconds a transaction may wait for us. */
const commandMs = 10_000;

/** The key that seals secrets, as the settings say; nothing is read or run yet. */
export function openKek({ vault }: Pick<Config, 'vault'>): KekSource {
  return vault.kind === 'file'
    ? openFileKek({ file: vault.file, mayCreate: vault.mayCreate })
    : openCommandKek({ command: vault.command, timeoutMs: commandMs });
}
