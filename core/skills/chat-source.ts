import { lookup } from 'node:dns/promises';
import { realpath } from 'node:fs/promises';
import { isIP } from 'node:net';
import path from 'node:path';
import type { AddressGuard } from '../egress/address-guard.ts';
import { AppError } from '../kit/errors.ts';

/** What somebody in a chat may name as the source of a skill. */
export interface ChatSourceRules {
  /** Local sources lie below it. */
  readonly projectDir: string;
  /** Folders below the project that hold what is nobody's to read: the data directory with keys and workspaces. */
  readonly closedFolders: readonly string[];
  /** Which machines a repository may lie on. */
  readonly guard: AddressGuard;
  /** The addresses of a name; the system's look-up unless told. */
  readonly lookup?: (host: string) => Promise<readonly string[]>;
}

/** A source that may be fetched. */
export interface ChatSource {
  readonly source: string;
  /** Addresses of the repository's host; undefined for a local one. */
  readonly addresses: readonly string[] | undefined;
}

/**
 * Judges where a skill shall come from when somebody in a chat says so. The terminal may name any place the operator can
 * read; a chat reaches the project's own folder and public repositories, and learns nothing of what else there is.
 * @throws AppError `command.invalid`.
 */
export async function chatSource(rules: ChatSourceRules, text: string): Promise<ChatSource> {
  if (/^https:\/\//.test(text)) {
    return { source: text, addresses: await publicAddresses(rules, text.split('#', 1)[0] ?? '') };
  }
  if (/^[a-z][a-z0-9+.-]*:/i.test(text) || text.includes('#') || /\.git\/?$/.test(text)) {
    throw refused('From here, skills come from https:// addresses of git repositories and from the project’s folder.');
  }
  return { source: await insidePath(rules, text), addresses: undefined };
}

async function insidePath({ projectDir, closedFolders }: ChatSourceRules, text: string): Promise<string> {
  const nothing = refused(`There is no folder or archive “${plain(text)}” in the project.`);
  const [root, ...closed] = await Promise.all(
    [projectDir, ...closedFolders].map(async (folder) => await realpath(folder).catch(() => path.resolve(folder))),
  );
  const wanted = path.resolve(projectDir, text);
  // One answer for what is outside, closed or not there: a difference would tell what the machine has.
  if (root === undefined || text.includes('\0') || !isBelow(wanted, path.resolve(projectDir))) throw nothing;
  const real = await realpath(wanted).catch(() => undefined);
  if (real === undefined || !isBelow(real, root)) throw nothing;
  const isHidden = path
    .relative(root, real)
    .split(path.sep)
    .some((segment) => segment.startsWith('.') && segment !== '.agents');
  if (isHidden || closed.some((folder) => real === folder || isBelow(real, folder))) throw nothing;
  return real;
}

/** Strictly below: the project itself is no skill. */
function isBelow(place: string, folder: string): boolean {
  const relative = path.relative(folder, place);
  return relative !== '' && relative !== '..' && !relative.startsWith(`..${path.sep}`) && !path.isAbsolute(relative);
}

async function publicAddresses(rules: ChatSourceRules, address: string): Promise<readonly string[]> {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url === undefined) throw refused(`“${plain(address)}” is no address.`);
  if (url.username !== '' || url.password !== '' || url.search !== '') {
    throw refused('An address with a key in it is not for a chat.', 'Add such a skill at the terminal.');
  }
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const find = rules.lookup ?? lookUp;
  const addresses = isIP(host) === 0 ? await find(host).catch(() => []) : [host];
  if (addresses.length === 0) throw refused(`The host ${plain(host)} was not found.`);
  for (const found of addresses) {
    const why = rules.guard.refusal(found);
    if (why !== undefined) throw refused(`${plain(host)} may not be reached: ${why}.`);
  }
  return addresses;
}

async function lookUp(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

function refused(text: string, mend = 'Other skills are added at the terminal with ./switchyard skill add.'): AppError {
  return new AppError('command.invalid', text, { mend });
}

function plain(text: string): string {
  return text.replaceAll(/[^\p{L}\p{M}\p{N} ._/:@+-]/gu, '?').slice(0, 200);
}
